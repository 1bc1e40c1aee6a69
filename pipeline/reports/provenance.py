"""How a mask was made: the rows of its own record, and the command that makes it again."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any

from pipeline.engine.ledger import flat
from pipeline.geometry import Box
from pipeline.io.address import redact_url
from pipeline.io.mask import MaskInfo, model_names
from pipeline.io.mask_files import mask_info
from pipeline.jobs.layers import DISAGREEMENT, layer_path
from pipeline.masks.image import image_beside, image_of
from pipeline.reports.options import ReportOptions
from pipeline.runs.publish import FAILED_AT, MEAN, SEAMS

Record = Mapping[str, Any]


def record_of(info: MaskInfo) -> Record:
    """Return what a mask says of how it was made; empty if it says nothing, or what another program wrote there."""
    return info.provenance if isinstance(info.provenance, Mapping) else {}


def disagreement_of(mask: Path) -> tuple[tuple[str, str], ...]:
    """Return the figure that is recorded with the layer of disagreement beside a mask, as names and texts."""
    record = record_of(mask_info(layer_path(mask, DISAGREEMENT)))
    models, views = (isinstance(record.get(name), list) for name in ("others", "view"))
    several = " and ".join(word for word, them in (("several models", models), ("several views", views)) if them)
    titles = {SEAMS: ("seam index", "overlapping patches"), MEAN: ("disagreement", several)}
    figures = [(title, of, record.get(name)) for name, (title, of) in titles.items()]
    return tuple((title, f"{at:.4f} (mean disagreement of {of})") for title, of, at in figures if isinstance(at, float))


def rows_of_record(record: Record) -> tuple[tuple[str, str], ...]:
    """Return what is known of how a mask was made, as names and texts."""
    found = {name: value for name, value in flat(record).items() if value not in (None, [], ()) and name != FAILED_AT}
    return tuple((name, _text(value)) for name, value in found.items())


def failed_places(record: Record, shape: tuple[int, ...]) -> tuple[Box, ...]:
    """Return where patches failed, as far as a record says that of cells within a grid of this shape."""
    said = record.get(FAILED_AT)
    found = (_box(place, shape) for place in said) if isinstance(said, list) else ()
    return tuple(box for box in found if box is not None)


def _box(said: Any, shape: tuple[int, ...]) -> Box | None:  # noqa: ANN401  (JSON)
    try:
        start, stop = (tuple(map(index, ends)) for ends in said)
        box = Box(start, stop)
        return box if box.size and Box.whole(shape).contains(box) else None
    except (TypeError, ValueError):
        return None


def run_command(record: Record, image: str | None, mask: str) -> str | None:
    """Return the command that makes a mask again; None without a record.

    An area of interest, and a grid other than the input's, are not in the record: their options are left to be filled
    in.
    """
    known = image or image_of(record)
    if not record or known is None:
        return None
    given = [(flag, show(record[key])) for key, flag, show in _OPTIONS if record.get(key) not in (None, [], {})]
    words = ["pipeline", "run", "--input", known, "--output", mask]
    words += [word for flag, value in given if value is not None for word in _option(flag, value)]
    words += [word for name in model_names(record)[1:] for word in ("--model", name)]
    unsaid = [f" {flag} {place}" for key, flag, place in _UNKNOWN if record.get(key)]
    return " ".join(map(shlex.quote, [*words, "--overwrite"])) + "".join(unsaid)


def commands(mask: Path, record: Record, asked: ReportOptions) -> tuple[str, ...]:
    """Return the commands that make a mask and its report again, as far as they are known."""
    image = asked.image and redact_url(asked.image)
    again = run_command(record, image or find_image(mask, record, None).path, str(mask))
    given = {"--image": image, "--truth": asked.truth, "--volume": asked.volume, "--detail": asked.detail}
    words = [word for flag, value in given.items() if value is not None for word in (flag, str(value))]
    report = " ".join(map(shlex.quote, ["pipeline", "report", str(mask), *words]))
    return (report,) if again is None else (again, report)


@dataclass(frozen=True)
class FoundImage:
    """Where the image of a mask is, and what a reader should know about it."""

    path: str | None
    notes: tuple[str, ...] = ()


def find_image(mask: Path, record: Record, given: str | None) -> FoundImage:
    """Find the image that a mask was made from: the one that is given, or the file beside it that its record names."""
    if given is not None:
        return FoundImage(given)
    name, path = image_of(record), image_beside(mask, record)
    if name is None:
        return FoundImage(None, ("The mask does not say what it was made from; give its image with --image.",))
    if path is None:
        return FoundImage(None, (f"{name} is not beside the mask; give the image that it was made from with --image.",))
    return FoundImage(str(path), _changes(path, record["input"]))


def _changes(path: Path, said: Record) -> tuple[str, ...]:
    """Return in what an image is another than the one that was segmented, by its size."""
    size = said.get("bytes")
    if not path.is_file() or not isinstance(size, int) or size == path.stat().st_size:
        return ()
    sizes = f"{path.stat().st_size:,} bytes instead of {size:,}"
    return (f"{path.name} has changed since the mask was made: it has {sizes}.",)


def _option(flag: str, value: str) -> tuple[str, ...]:
    """Return an option with its value; a value like -0.1 must not be taken for an option."""
    return (f"{flag}={value}",) if value.startswith("-") else (flag, value) if value else (flag,)


def _part(name: str) -> Callable[[Any], str | None]:
    """Return what shows one of the values of a field."""
    return lambda value: _listed(value[name]) if isinstance(value, Mapping) and value.get(name) else None


def _listed(value: Any) -> str | None:  # noqa: ANN401
    """Return a list in the notation of the command line; None for one list for each view."""
    values = value if isinstance(value, (list, tuple)) else [value]
    return None if any(isinstance(one, (list, tuple)) for one in values) else ",".join(map(_text, values))


def _text(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


_OPTIONS: tuple[tuple[str, str, Callable[[Any], str | None]], ...] = (
    ("model", "--model", _listed),
    ("bands", "--bands", _listed),
    ("calibration", "--scale", _part("scale")),
    ("calibration", "--offset", _part("offset")),
    ("patch", "--patch", _listed),
    ("overlap", "--overlap", _listed),
    ("window", "--window", _listed),
    ("view", "--view", _listed),
    ("tta", "--tta", _listed),
    ("features", "--features", lambda _: "shared"),
    ("also", "--layers", _listed),
    ("affine", "--nifti-affine", _listed),
    ("volume", "--volume", _listed),
    ("keep_header_text", "--keep-header-text", lambda value: "" if value is True else None),
    ("device", "--device", _listed),
    ("precision", "--precision", _listed),
    ("runtime", "--runtime", _listed),
)
"""Fields of a record, the options that they come from, and how their values are given."""
_UNKNOWN = (("aoi", "--aoi", "AREA"), ("target", "--like", "RASTER"))
