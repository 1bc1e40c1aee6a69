"""Expand what a user names into the inputs of jobs: files, folders, patterns, tables and addresses."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path, PurePath, PurePosixPath
from typing import TypeVar

from pipeline.decoding.readers import one_or_several
from pipeline.errors import NothingFoundError, PipelineError, RequestError
from pipeline.files.case import ignores_case
from pipeline.files.object_path import ObjectPath, OutputPath, is_object, output_path
from pipeline.io.address import as_utf8, is_path, output_folder, redact_url, with_paths
from pipeline.io.formats import Input, look, mask_format, mask_suffixes
from pipeline.io.opening import open_source
from pipeline.io.suffixes import SIDECARS, VECTORS, is_store, names_folder, names_store, stem_of, suffix_of
from pipeline.io.tables import read_rows
from pipeline.jobs.bids import find_images, find_phase_images, mask_path, owner_of
from pipeline.jobs.folders import Found, find_by_pattern, find_in_folder, root_of
from pipeline.jobs.job import Job, models_of
from pipeline.jobs.request import Request, Search
from pipeline.jobs.time_series import expand_4d
from pipeline.models.catalogue import find_model, pin_model
from pipeline.optional import need

_TABLES = (".csv", ".tsv")
_STAC = (".json", ".geojson")
NONE: Mapping[Input, str | None] = {}
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
    outputs = _outputs(request, found)
    named = zip(found, outputs, strict=True)
    jobs = [
        Job(**{**said, "input": item.text, "output": output, "catalog": item.catalog}).plain() for item, output in named
    ]
    if request.volume != "all":
        return jobs
    each = [one for item, job in zip(found, jobs, strict=True) for one in expand_4d(job, item)]
    if len(each) > 1 and request.output is not None and _is_one_file(request.output):
        raise RequestError(f"--output {request.output}: is one file, but there are {len(each)} volumes; give a folder")
    return each


def _outputs(request: Request, found: Mapping[Input, str | None]) -> tuple[OutputPath | None, ...]:
    if request.bids is None:
        return _name_outputs(tuple(found), request.output, request.input, found)
    _check_derivative(request)
    folder = _derivative(request)
    owner = owner_of(folder)
    return tuple(mask_path(image.path, Path(request.input[0]), folder, owner) for image in found)


def _check_derivative(request: Request) -> None:
    if len(request.input) > 1 or request.volume == "all":
        said = f"{len(request.input)} inputs" if len(request.input) > 1 else "--volume all"
        raise RequestError(f"--bids {request.bids}: takes one dataset and writes one mask per image; got {said}")
    folder = _derivative(request)
    if mask_format(folder) is not None or folder.is_file() or folder.resolve() == Path(request.input[0]).resolve():
        raise RequestError(f"--output {folder}: the masks of a dataset need a folder of their own")


def _derivative(request: Request) -> Path:
    """Return the folder of the masks of a BIDS dataset."""
    return Path(request.input[0], "derivatives", "pipeline") if request.output is None else Path(request.output)


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


def folder_of(request: Request, jobs: Sequence[Job]) -> OutputPath:
    """Return the folder of an archive's ledger: that of the masks, else that of the inputs.

    If neither was given, it is the deepest folder that contains all masks.
    """
    if request.bids is not None:
        return _derivative(request)
    if request.output is not None and mask_format(_named(request.output)) is None:
        return output_path(request.output)
    roots = {root for name in request.input if (root := _root(name)) is not None}
    if len(roots) == 1 and request.output is None:
        return roots.pop()
    first, *rest = sorted({_folder(job) for job in jobs}, key=str)
    folders: list[OutputPath] = [first, *first.parents]
    return next(folder for folder in folders if all(_is_below(other, folder) for other in rest))


def _is_below(place: OutputPath, folder: OutputPath) -> bool:
    if isinstance(place, Path):
        return isinstance(folder, Path) and place.is_relative_to(folder)
    return place.is_relative_to(folder)


def _folder(job: Job) -> OutputPath:
    if job.output is not None:
        return job.output.absolute().parent
    return output_folder(job.input).absolute()


def find_clashes(jobs: Sequence[Job]) -> dict[Job, str]:
    """Return the jobs whose masks would have the same name as others, with the reason."""
    by_output: dict[str, list[Job]] = {}
    for job in jobs:
        by_output.setdefault(_on_its_disk(expected_output(job)), []).append(job)
    shared = {output: same for output, same in by_output.items() if len(same) > 1}
    return {job: _clash(job, same) for same in shared.values() for job in same}


def _on_its_disk(path: OutputPath) -> str:
    """An absolute path, in the form in which its disk compares it."""
    absolute = _absolute(path)
    here = isinstance(path, Path)
    return absolute.casefold() if here and ignores_case(Path(absolute).parent) else absolute


def _absolute(path: OutputPath) -> str:
    return f"{path}" if isinstance(path, ObjectPath) else os.path.abspath(path)  # noqa: PTH100  (of thousands)


def _clash(job: Job, same: Sequence[Job]) -> str:
    output = _absolute(expected_output(job))
    other = next((other for other in same if other != job), job)
    alike = "" if _absolute(expected_output(other)) == output else ", as its disk does not distinguish capital letters"
    return (
        f"{job.name}: would have the same output {as_utf8(output)} as {other.name}{alike}; "
        "rename one of them, or segment them into different folders"
    )


def name_outputs(
    items: Sequence[str | Input],
    output: str | None,
    named: Iterable[str] = (),
    names: Mapping[Input, str | None] = NONE,
) -> tuple[OutputPath | None, ...]:
    """Return the output of each item: the file `output`, or `<stem>_mask` in the folder `output`; None for the default.

    Items found in a folder or by a pattern keep their place below it: `archive/p1/ct.nii.gz` of `archive/**/*.nii.gz`
    goes to `p1/ct_mask.nii.gz`.

    Args:
        items: The inputs.
        output: File or folder; None: beside each input.
        named: What the user gave, to know the folders below which items keep their place.
        names: Stems for items that should not use their own.

    Raises:
        RequestError: If two items would have the same output.

    """
    outputs = _name_outputs(items, output, named, names)
    first: dict[OutputPath, str | Input] = {}
    for item, path in zip(items, outputs, strict=True):
        if path is not None and first.setdefault(path, item) is not item:
            raise RequestError(
                f"{look(item).name}: would have the same output {path} as {look(first[path]).name}; "
                "segment them into different folders"
            )
    return outputs


def _name_outputs(
    items: Sequence[str | Input], output: str | None, named: Iterable[str], names: Mapping[Input, str | None]
) -> tuple[OutputPath | None, ...]:
    inputs = tuple(map(look, items))
    if output is None:
        return tuple(_default_output(item, name) if (name := names.get(item)) else None for item in inputs)
    if _is_one_file(output):
        if len(inputs) > 1:
            raise RequestError(f"--output {output}: is one file, but there are {len(inputs)} inputs; give a folder")
        return (output_path(output),)
    _check_folder(output)
    roots = [root for name in named if (root := _root_of_any(name)) is not None]
    return tuple(
        output_path(output) / _relative_folder(item, roots) / _mask_name(item, names.get(item)) for item in inputs
    )


def _mask_name(item: Input, stem: str | None) -> str:
    return (stem or stem_of(item.text)) + "_mask" + (".nii.gz" if _is_volume(item) else ".tif")


def expected_output(job: Job) -> OutputPath:
    """Return where the mask of a job is written: its output, or its name beside the input."""
    return job.output or output_folder(job.input) / _mask_name(look(job.input), None)


def _check_folder(output: str) -> None:
    if is_object(output) and not ObjectPath.parse(output).key:
        return  # a bucket, in whose name a point is no suffix
    if not names_folder(output):
        hint = "; `pipeline export` converts a mask to it" if suffix_of(output) in (".dcm", *SIDECARS, *VECTORS) else ""
        raise RequestError(f"--output {output}: is neither a folder nor one of {', '.join(mask_suffixes())}{hint}")


def _is_one_file(output: str) -> bool:
    return mask_format(_named(output)) is not None and not output.endswith("/")


def _named(output: str) -> str | ObjectPath:
    """An output of which the suffix is asked for: an address of an object has no parameters."""
    return ObjectPath.parse(output) if is_object(output) else output


def _default_output(item: Input, name: str) -> Path:
    return output_folder(item.text) / f"{name}_mask.tif"


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


def _root(name: str) -> Path | None:
    """Return the folder below which `name` stands for files; None if it stands for itself."""
    path = Path(name)
    if not is_path(name) or (not path.is_dir() and not glob.has_magic(name)):
        return None
    fixed = list(takewhile(lambda part: not glob.has_magic(part), path.parts))
    return path if path.is_dir() else Path(*fixed)


def _root_of_any(name: str) -> Path | ObjectPath | None:
    """The same; of the name of an object, the prefix that it may be."""
    if not is_object(name):
        return _root(name)
    return None if _object_of(name) is None else root_of(name)


def _object_of(text: str) -> ObjectPath | None:
    """The object of this name; None where only GDAL takes such a name, as one with two slashes in a row."""
    try:
        return ObjectPath.parse(text) if is_object(text) else None
    except RequestError:
        return None


def _relative_folder(item: Input, roots: Sequence[Path | ObjectPath]) -> PurePath:
    if (place := _object_of(item.text)) is not None:
        return _folder_below(place, roots)
    parent = item.path.parent  # of a folder that is an item itself, this may lie above
    folders = [root for root in roots if isinstance(root, Path)]
    root = next((root for root in folders if item.path.is_relative_to(root)), parent)
    placed = item.is_path and parent.is_relative_to(root)
    return parent.relative_to(root) if placed else Path()


def _folder_below(place: ObjectPath, roots: Sequence[Path | ObjectPath]) -> PurePath:
    """The place of an object below the prefix that it was found by."""
    prefixes = (root for root in roots if isinstance(root, ObjectPath))
    root = next((root for root in prefixes if place != root and place.is_relative_to(root)), place.parent)
    return PurePosixPath(place.parent.key).relative_to(root.key)


def _items(name: str, tell: Tell) -> Sequence[str | Input]:
    if is_object(name) and (_is_plural(name) or (_object_of(name) is not None and find_spec("obstore") is not None)):
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


def _is_volume(item: Input) -> bool:
    """Return whether an input's mask is a volume; an input that cannot be opened reports that when its turn comes."""
    if item.format.kind is not None:
        return item.format.kind == "volume"
    try:
        return (item.remote or is_store(item.path)) and not open_source(item).grid.is_scene
    except PipelineError:
        return False


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
