"""Expand what a user names into the inputs of jobs: files, folders, patterns, tables and addresses."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from pipeline.decoding.readers import one_or_several
from pipeline.errors import NothingFoundError, RequestError
from pipeline.files.object_path import is_object
from pipeline.io.address import is_path, redact_url, with_paths
from pipeline.io.formats import Input, look
from pipeline.io.suffixes import is_store, names_store, suffix_of
from pipeline.io.tables import read_rows
from pipeline.jobs.bids import find_images, find_phase_images
from pipeline.jobs.folders import Found, find_by_pattern, find_in_folder, object_of
from pipeline.jobs.job import Job, models_of
from pipeline.jobs.outputs import is_one_file, outputs_of
from pipeline.jobs.request import Request, Search
from pipeline.jobs.time_series import expand_4d
from pipeline.models.catalogue import find_model, pin_model
from pipeline.optional import need

_TABLES = (".csv", ".tsv")
_STAC = (".json", ".geojson")
Tell = Callable[[str], object]
"""Is called with a line for the user."""


NamedInputs = dict[str | Input, str | None]
"""The name that the mask of each input is to have; None: that of the input."""
Inputs = TypeVar("Inputs", list[str], NamedInputs)


def find_inputs(named: Iterable[str]) -> tuple[str, ...]:
    """Return the inputs that `named` stands for, each once, in order.

    - A folder stands for the GeoTIFF, NIfTI, NRRD, MetaImage and Zarr files below it, and for each folder of DICOM
      files.
    - A pattern, `**` included, stands for the files that it matches. Both are sorted and leave out masks (`*_mask`,
      `*_dseg`); of a NIfTI pair the `.hdr` counts.
    - A prefix of an object store, with the slash at its end, and a pattern of names there stand for the same objects.
    - A table (`.csv`, `.tsv`) stands for its column `input`.
    - STAC Items (`.json`, `.geojson`) stand for an asset of each.
    - Anything else stands for itself.

    Raises:
        NothingFoundError: If one of them stands for nothing.

    """
    return tuple(item.text for item in _expand(Request(input=tuple(named)), _say_nothing))


def _say_nothing(line: str) -> None:
    """For callers that have nobody to tell."""


def _expand(request: Request, tell: Tell) -> dict[Input, str | None]:
    """Return each input, recognized once, with the name of its mask; None: that of the input."""
    found: dict[Input, str | None] = {}
    for stands in _expand_each(request, tell):
        for item, name in stands.items():
            found.setdefault(look(item), name)
    return found


def _expand_each(request: Request, tell: Tell) -> Iterator[NamedInputs]:
    for name in request.input:
        if request.bids is not None:
            yield dict.fromkeys(_all_of(_of_dataset(Path(name), request.bids), name, "", tell))
            continue
        yield _stac(name, request) if suffix_of(name) in _STAC else dict.fromkeys(_items(name, tell))
    if request.search is not None:
        yield _search(request.search, request)


def jobs_of(request: Request, tell: Tell = _say_nothing) -> list[Job]:
    """Return one job for each input of a request; `tell` is called with what is left out.

    Inputs whose masks would have the same name are among them: `find_clashes` names them.

    Raises:
        RequestError: If the model or an input does not exist.
        NothingFoundError: If there is no input.

    """
    models = tuple(map(pin_model, models_of(request.model)))
    for model in models:
        find_model(model)
    request = replace(request, model=one_or_several(models) or None)
    found = _expand(request, tell)
    if request.series is not None:
        found = _with_series(found, request.series)
    said = {field.name: getattr(request, field.name) for field in fields(Job) if field.name != "catalog"}
    said["volume"] = None if request.volume == "all" else request.volume
    outputs = outputs_of(request, found)
    named = zip(found, outputs, strict=True)
    jobs = [
        Job(**{**said, "input": item.text, "output": output, "catalog": item.catalog}).plain() for item, output in named
    ]
    if request.volume != "all":
        return jobs
    each = [one for item, job in zip(found, jobs, strict=True) for one in expand_4d(job, item)]
    if len(each) > 1 and request.output is not None and is_one_file(request.output):
        raise RequestError(f"--output {request.output}: is one file, but there are {len(each)} volumes; give a folder")
    return each


def _with_series(found: dict[Input, str | None], series: str) -> dict[Input, str | None]:
    """Keep the inputs that contain a DICOM series; a single input is checked when it is opened."""
    if len(found) < 2:
        return found
    need("dicom", "--series")
    held = {item: name for item, name in found.items() if series in item.format.series(item)}
    if not held:
        raise NothingFoundError(
            f"--series {series}: is in none of {len(found)} inputs; give one of them alone to list its series"
        )
    return held


def _stac(place: str, request: Request) -> NamedInputs:
    need("stac", redact_url(place))
    from pipeline.jobs.stac import read_items

    return _require(dict(read_items(place, request.asset, request.allow or ())), f"{redact_url(place)}: has no items")


def _search(search: Search, request: Request) -> NamedInputs:
    need("stac", redact_url(search.url))
    from pipeline.jobs.stac import search_items

    return _require(
        dict(search_items(search, request.asset, request.allow or ())), f"{redact_url(search.url)}: found no items"
    )


def _items(name: str, tell: Tell) -> Sequence[str | Input]:
    if is_object(name) and (_is_plural(name) or (object_of(name) is not None and find_spec("obstore") is not None)):
        return _items_in_store(name, tell)
    if not is_path(name):
        return [name]
    path = Path(name)
    if path.is_dir() and not is_store(path):
        return _all_of(
            find_in_folder(path), name, f"{name}: contains no GeoTIFF, NIfTI or Zarr, and no CT or MR in DICOM", tell
        )
    if glob.has_magic(name) and not path.exists():
        return _all_of(find_by_pattern(name), name, f"{name}: no file matches", tell)
    if path.suffix in _TABLES:
        return _require(_column(path), f"{name}: has no rows")
    return [name]


def _is_plural(name: str) -> bool:
    """Whether a name of an object can only stand for others."""
    return glob.has_magic(name) or (name.endswith("/") and not names_store(name))


def _items_in_store(name: str, tell: Tell) -> Sequence[str | Input]:
    need("objects", name)
    from pipeline.jobs.prefixes import find_by_names, find_by_prefix, stands_for_objects

    if not stands_for_objects(name):
        return [name]
    if glob.has_magic(name):
        return _all_of(find_by_names(name), name, f"{name}: no object matches", tell)
    otherwise = f"{name}: there is no GeoTIFF, NIfTI, NRRD, MetaImage, Zarr or zip of DICOM below this prefix"
    return _all_of(find_by_prefix(name), name, otherwise, tell)


def _of_dataset(root: Path, suffix: str) -> Found:
    images, phases = find_images(root, suffix), find_phase_images(root, suffix)
    return Found(tuple(map(str, images)), phases=tuple(phases))


def _all_of(found: Found, name: str, otherwise: str, tell: Tell) -> Sequence[str | Input]:
    """Return the inputs in a folder or of a pattern, and tell what is left out."""
    lines = found.left_out(name)
    if not found.inputs:
        raise NothingFoundError("; ".join([otherwise, *(line.removeprefix(f"{name}: ") for line in lines)]))
    for line in lines:
        tell(line)
    return found.inputs


def _column(path: Path) -> list[str]:
    rows = read_rows(path)
    if rows and "input" not in rows[0]:
        raise RequestError(f"{path}: has the columns {', '.join(rows[0])}; a column named input is required")
    return [with_paths(item, lambda name: _resolve(path.parent, name)) for row in rows if (item := row["input"])]


def _resolve(folder: Path, name: str) -> str:
    return name if Path(name).is_absolute() else str(folder / name)


def _require(found: Inputs, otherwise: str) -> Inputs:
    if not found:
        raise NothingFoundError(otherwise)
    return found
