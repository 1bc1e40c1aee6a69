"""Job files: what is to be done, in TOML, checked key by key."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, TypeVar

from pipeline.decoding import did_you_mean
from pipeline.engine import WINDOWS
from pipeline.errors import RequestError
from pipeline.io.address import with_paths
from pipeline.io.band_names import BandName, band_names
from pipeline.jobs.layers import checked
from pipeline.models.card import views_of
from pipeline.models.inference.tta import Augmentation

Read = TypeVar("Read", "Request", "Search")
AFFINES = ("strict", "sform", "qform")
Keys = Mapping[str, tuple[str, Callable[[Any], object]]]
"""By key of a table: what is expected, in words, and what reads it."""


@dataclass(frozen=True)
class Search:
    """What a STAC API is asked for, by the table `search` of a job file."""

    url: str = ""
    """Landing page of the API."""
    collections: tuple[str, ...] = ()
    bbox: tuple[float, ...] | None = None
    """West, south, east and north, in degrees."""
    days: float | None = None
    """Items of so many days until now."""
    datetime: str | None = None
    """An instant or an interval instead, as in "2026-05-01/2026-06-01"."""
    cloud_cover: float | None = None
    """Most clouds in percent; items that do not say are left out."""
    limit: int = 1000
    """Most items."""


@dataclass(frozen=True)
class Request:
    """What a user asks for: a `Job` for each of its inputs. None: not said."""

    input: tuple[str, ...] = ()
    output: str | None = None
    model: str | None = None
    bands: tuple[BandName, ...] | None = None
    patch: tuple[int, int] | None = None
    overlap: tuple[int, int] | None = None
    window: str | None = None
    view: tuple[str, ...] | None = None
    tta: tuple[str | float, ...] | None = None
    aoi: str | None = None
    also: tuple[str, ...] | None = None
    affine: str | None = None
    volume: int | str | None = None
    """One volume of 4-D files, from 0, or "all": each becomes an item."""
    keep_header_text: bool | None = None
    scale: tuple[float, ...] | None = None
    offset: tuple[float, ...] | None = None
    like: str | None = None
    resolution: tuple[float, float] | None = None
    crs: str | None = None
    asset: str | None = None
    """Asset of STAC items that is the input, or several, with commas, that are its bands."""
    search: Search | None = None
    series: str | None = None
    """UID of one of several DICOM series."""
    bids: str | None = None
    """Suffix of the images of a BIDS dataset, which the input is then, as in T1w."""


def read_request(path: Path) -> Request:
    """The request in a job file; paths in it are relative to the file.

    Raises RequestError with the key, what stands there and what is expected.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"{path}: the job file cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: is not TOML ({error})") from error
    return _beside(_read(Request(), values, _KEYS, f"{path}: "), path.parent)


def check(request: Request) -> None:
    """Raise RequestError for what cannot hold, whatever the inputs are."""
    if not request.input and request.search is None:
        raise RequestError("there is no input; give one, as in `pipeline run --input scene.tif`")
    if request.bids is not None and request.search is not None:
        raise RequestError("bids and search are both given; a search finds no dataset")
    check_how(request)


def check_how(request: Request) -> None:
    """The same of a request that need not name inputs."""
    word = request.window
    if word is not None and word not in WINDOWS:
        raise RequestError(f"unknown window {word!r}{did_you_mean(word, WINDOWS)}; choose one of {', '.join(WINDOWS)}")
    views_of(request.view)
    Augmentation.of(request.tta)
    checked(request.also)
    if request.affine is not None and request.affine not in AFFINES:
        hint = did_you_mean(request.affine, AFFINES)
        raise RequestError(f"unknown affine {request.affine!r}{hint}; choose one of {', '.join(AFFINES)}")
    if isinstance(request.volume, int) and request.volume < 0:
        raise RequestError(f"volume {request.volume}: must be at least 0, for volumes are counted from 0; or all")
    if request.like is not None and (request.resolution or request.crs):
        raise RequestError(f"like {request.like} is a grid already; leave out resolution and crs")
    if request.resolution and not all(0 < side < inf for side in request.resolution):
        raise RequestError(f"resolution {request.resolution} must be above 0, in height and in width")
    patch, overlap = request.patch, request.overlap
    if patch and min(patch) < 1:
        raise RequestError(f"patch {patch} must be at least 1, in height and in width")
    if overlap and (min(overlap) < 0 or (patch and any(o >= p for p, o in zip(patch, overlap, strict=True)))):
        raise RequestError(f"overlap {overlap} must be from 0 to below the patch {patch or ''}, in height and in width")


def _read(blank: Read, values: Mapping[str, object], keys: Keys, place: str) -> Read:
    """`blank` with the values of a table; RequestError, after the words `place`, for what it cannot hold."""
    read: dict[str, Any] = {}
    for key, value in values.items():
        if key not in keys:
            raise RequestError(f"{place}unknown key {key}{did_you_mean(key, keys)}; known are {', '.join(keys)}")
        expected, reader = keys[key]
        try:
            read[key] = reader(value)
        except RequestError as error:
            raise RequestError(f"{place}{key}.{error}") from None
        except (TypeError, ValueError):
            raise RequestError(f"{place}{key} = {value!r} must be {expected}") from None
    return replace(blank, **read)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(_text, value)) if isinstance(value, list) else (_text(value),)


def _words(value: object) -> tuple[str, ...]:
    return tuple(map(_text, value)) if isinstance(value, list) else tuple(_text(value).split(","))


def _words_and_numbers(value: object) -> tuple[str | float, ...]:
    return tuple(map(_word_or_number, value)) if isinstance(value, list) else tuple(_text(value).split(","))


def _word_or_number(value: object) -> str | float:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeError
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _wholes(value: Any) -> tuple[int, ...]:  # noqa: ANN401  (what stands in a file)
    return tuple(map(_whole, value))


def _bands(value: Any) -> tuple[BandName, ...]:  # noqa: ANN401  (what stands in a file)
    return band_names(value.split(",") if isinstance(value, str) else value)


def _pair(value: Any) -> tuple[int, int]:  # noqa: ANN401  (what stands in a file)
    if isinstance(value, int):
        return _whole(value), _whole(value)
    height, width = _wholes(value)
    return height, width


def _volume(value: object) -> int | str:
    return "all" if value == "all" else _whole(value)


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    return float(value)


def _numbers(value: Any) -> tuple[float, ...]:  # noqa: ANN401  (what stands in a file)
    return tuple(map(_number, value)) if isinstance(value, list) else (_number(value),)


def _lengths(value: Any) -> tuple[float, float]:  # noqa: ANN401  (what stands in a file)
    height, width = map(_number, value if isinstance(value, list) else (value, value))
    return height, width


def _box(value: Any) -> tuple[float, ...]:  # noqa: ANN401  (what stands in a file)
    west, south, east, north = map(_number, value)
    if not (-90 <= south <= north <= 90):
        raise ValueError
    return west, south, east, north


def _search(value: object) -> Search:
    if not isinstance(value, dict):
        raise TypeError
    search = _read(Search(), value, _SEARCH, "")
    if not search.url:
        raise RequestError("url is missing; it is the landing page of a STAC API")
    if search.days is not None and search.datetime is not None:
        raise RequestError("days and datetime are both given; give one of them")
    return search


_SEARCH: Keys = {
    "url": ("a text", _text),
    "collections": ("a text or a list of texts", _texts),
    "bbox": ("[west, south, east, north] in degrees", _box),
    "days": ("a number", _number),
    "datetime": ("a text", _text),
    "cloud_cover": ("a number", _number),
    "limit": ("a whole number", _whole),
}
_KEYS: Keys = {
    "input": ("a text or a list of texts", _texts),
    "output": ("a text", _text),
    "model": ("a text", _text),
    "bands": ("a text or a list of whole numbers and names", _bands),
    "series": ("a text", _text),
    "bids": ("a text", _text),
    "patch": ("a whole number, or [height, width]", _pair),
    "overlap": ("a whole number, or [height, width]", _pair),
    "window": ("a text", _text),
    "view": ("a text or a list of texts", _words),
    "tta": ("a text or a list of words and numbers", _words_and_numbers),
    "aoi": ("a text", _text),
    "also": ("a text or a list of texts", _words),
    "affine": ("a text", _text),
    "volume": ('a whole number, or "all"', _volume),
    "keep_header_text": ("true or false", _truth),
    "scale": ("a number or a list of numbers", _numbers),
    "offset": ("a number or a list of numbers", _numbers),
    "like": ("a text", _text),
    "resolution": ("a number, or [height, width]", _lengths),
    "crs": ("a text", _text),
    "asset": ("a text", _text),
    "search": ("a table", _search),
}


def _beside(request: Request, folder: Path) -> Request:
    def resolve(name: str) -> str:
        return with_paths(name, lambda path: path if path.startswith("/") else str(folder / path))

    model = request.model
    if model is not None and "/" in model:
        model = resolve(model)
    aoi = request.aoi
    if aoi is not None and (folder / aoi).is_file():
        aoi = str(folder / aoi)
    like = None if request.like is None else resolve(request.like)
    output = None if request.output is None else resolve(request.output) + "/" * request.output.endswith("/")
    inputs = tuple(map(resolve, request.input))
    return replace(request, input=inputs, output=output, model=model, aoi=aoi, like=like)
