"""Define what a user asks for on the command line or in a job file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Annotated

from pipeline.decoding import DecodeError, Meaning, Reader, decode
from pipeline.decoding.readers import NUMBER, ONE_OR_SEVERAL, TEXT, TEXTS, WHOLE, number, whole
from pipeline.jobs.job import JobOptions

UNKNOWN = "{place}unknown key {key}{hint}; known are {known}"


def _box(value: Sequence[object]) -> tuple[float, ...]:
    west, south, east, north = map(number, value)
    if not (-90 <= south <= north <= 90):
        raise ValueError
    return west, south, east, north


@dataclass(frozen=True)
class Search:
    """A search of a STAC API: the table `search` of a job file."""

    url: Annotated[str, TEXT, Meaning("Landing page of the API; needed.")] = ""
    collections: Annotated[tuple[str, ...], TEXTS, Meaning("Collections to look in.")] = ()
    bbox: Annotated[
        tuple[float, ...] | None,
        Reader("[west, south, east, north] in degrees", _box),
        Meaning("Bounding box of the items, in degrees."),
    ] = None
    days: Annotated[float | None, NUMBER, Meaning("Only items of the last N days.")] = None
    datetime: Annotated[
        str | None,
        TEXT,
        Meaning('An instant or an interval instead of `days`, such as "2026-05-01/2026-06-01".'),
    ] = None
    cloud_cover: Annotated[
        float | None, NUMBER, Meaning("Highest cloud cover in percent; items without one are left out.")
    ] = None
    limit: Annotated[int, WHOLE, Meaning("Maximum number of items.", unset="1000")] = 1000


def _search(value: object) -> Search:
    if not isinstance(value, dict):
        raise TypeError
    search = decode(Search, value, may_miss=True, unknown=UNKNOWN)
    if not search.url:
        raise DecodeError("url is missing; it is the landing page of a STAC API")
    if search.days is not None and search.datetime is not None:
        raise DecodeError("days and datetime cannot be used together; give one of them")
    return search


def _volume(value: object) -> int | str:
    return "all" if value == "all" else whole(value)


def _parse_volume(words: str) -> int | str:
    try:
        return words if words == "all" else int(words)
    except ValueError:
        raise ValueError(f"{words!r}: must be the index of a volume (from 0), or all") from None


@dataclass(frozen=True)
class Request(JobOptions):
    """What a user asks for: one `Job` for each of its inputs."""

    input: Annotated[
        tuple[str, ...],
        TEXTS,
        Meaning(
            "File, folder, prefix of an object store, quoted pattern, table (.csv, .tsv), STAC items (.json), URL, or "
            "mosaic: or stack: of rasters; may be repeated.",
            short="-i",
            role="input",
        ),
    ] = ()
    output: Annotated[
        str | None,
        TEXT,
        Meaning(
            "Output file (.tif, .zarr, .nii, .nii.gz, ...) or folder; also in an object store: s3://, gs://, az://.",
            unset="<stem>_mask beside the input",
            short="-o",
            role="output",
        ),
    ] = None
    model: Annotated[
        str | tuple[str, ...] | None,
        ONE_OR_SEVERAL,
        Meaning(
            "Name or path of a model, see `pipeline models`; may be repeated: the scores of several are averaged.",
            unset="landcover for scenes, hippocampus for volumes",
            short="-m",
            role="model",
        ),
    ] = None
    _: KW_ONLY
    bids: Annotated[
        str | None,
        TEXT,
        Meaning("The input is a BIDS dataset: segment its images with this suffix, e.g. T1w.", unset="it is not"),
    ] = None
    volume: Annotated[
        int | str | None,
        Reader('a whole number, or "all"', _volume, _parse_volume, "<int>|all"),
        Meaning(
            "Index (from 0) of the volume in a 4-D NIfTI, or all: one mask per volume.", unset="4-D files are refused"
        ),
    ] = None
    asset: Annotated[
        str | None,
        TEXT,
        Meaning(
            "Asset of STAC items to segment, by name or common name; several (red,green,blue) are the bands of one "
            "scene.",
            unset="visual, image, data, or the only image",
        ),
    ] = None
    search: Annotated[Search | None, Reader("a table", _search), Meaning("STAC search whose items are inputs too.")] = (
        None
    )
