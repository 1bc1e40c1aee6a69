"""Expand what a user names into the inputs of jobs: files, folders, patterns, tables and addresses."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import takewhile
from pathlib import Path
from typing import TypeVar

from pipeline.errors import NothingFoundError, PipelineError, RequestError
from pipeline.io.address import is_path, output_folder, redact_url, with_paths
from pipeline.io.formats import Input, is_input, look, mask_format, mask_suffixes
from pipeline.io.opening import open_source
from pipeline.io.suffixes import SIDECARS, STORES, VECTORS, is_store, names_folder, stem_of, suffix_of
from pipeline.io.tables import read_rows
from pipeline.io.volume.nifti_pairs import parts
from pipeline.jobs.bids import SEGMENTATION, find_images, mask_path
from pipeline.jobs.job import Job
from pipeline.jobs.layers import LAYERS
from pipeline.jobs.request import Request, Search
from pipeline.jobs.time_series import expand_4d
from pipeline.models.catalogue import find_model
from pipeline.optional import need

_TABLES = (".csv", ".tsv")
_STAC = (".json", ".geojson")
NONE: Mapping[Input, str | None] = {}
_OURS = re.compile(rf"(_mask(_({'|'.join(LAYERS)}))?|_{SEGMENTATION})$")
_CLOSED = (*STORES, ".partial")
"""Suffixes of folders in which nothing is looked for."""


NamedInputs = dict[str | Input, str | None]
"""The name that the mask of each input is to have; None: that of the input."""
Inputs = TypeVar("Inputs", list[str], list[str | Input], NamedInputs)


def find_inputs(named: Iterable[str]) -> tuple[str, ...]:
    """Return the inputs that `named` stands for, each once, in order.

    - A folder stands for the GeoTIFF, NIfTI, NRRD, MetaImage and Zarr files below it, and for each folder of DICOM
      files.
    - A pattern, `**` included, stands for the files that it matches. Both are sorted and leave out masks (`*_mask`,
      `*_dseg`); of a NIfTI pair the `.hdr` counts.
    - A table (`.csv`, `.tsv`) stands for its column `input`.
    - STAC Items (`.json`, `.geojson`) stand for an asset of each.
    - Anything else stands for itself.

    Raises:
        NothingFoundError: If one of them stands for nothing.

    """
    return tuple(item.text for item in _expand(Request(input=tuple(named))))


def _expand(request: Request) -> dict[Input, str | None]:
    """Return each input, recognized once, with the name of its mask; None: that of the input."""
    found: dict[Input, str | None] = {}
    for stands in _expand_each(request):
        for item, name in stands.items():
            found.setdefault(look(item), name)
    return found


def _expand_each(request: Request) -> Iterator[NamedInputs]:
    for name in request.input:
        if request.bids is not None:
            yield dict.fromkeys(map(str, find_images(Path(name), request.bids)))
            continue
        yield _stac(name, request) if suffix_of(name) in _STAC else dict.fromkeys(_items(name))
    if request.search is not None:
        yield _search(request.search, request)


def jobs_of(request: Request) -> list[Job]:
    """Return one job for each input of a request.

    Raises:
        RequestError: If the model or an input does not exist.
        NothingFoundError: If there is no input.

    """
    if request.model is not None:
        find_model(request.model)
    found = _expand(request)
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


def _outputs(request: Request, found: Mapping[Input, str | None]) -> tuple[Path | None, ...]:
    if request.bids is None:
        return name_outputs(tuple(found), request.output, request.input, found)
    _check_derivative(request)
    masks = tuple(mask_path(image.path, Path(request.input[0]), _derivative(request)) for image in found)
    of_masks = dict(zip(masks, found, strict=True))
    for path, image in zip(masks, found, strict=True):
        if of_masks[path] != image:
            raise RequestError(f"{path}: would be the mask of both {image} and {of_masks[path]}; move one of them")
    return masks


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


def folder_of(request: Request, jobs: Sequence[Job]) -> Path:
    """Return the folder of an archive's ledger: that of the masks, else that of the inputs.

    If neither was given, it is the deepest folder that contains all masks.
    """
    if request.bids is not None:
        return _derivative(request)
    if request.output is not None and mask_format(request.output) is None:
        return Path(request.output)
    roots = {root for name in request.input if (root := _root(name)) is not None}
    if len(roots) == 1 and request.output is None:
        return roots.pop()
    first, *rest = sorted({_folder(job) for job in jobs})
    return next(folder for folder in (first, *first.parents) if all(other.is_relative_to(folder) for other in rest))


def _folder(job: Job) -> Path:
    if job.output is not None:
        return job.output.absolute().parent
    return output_folder(job.input).absolute()


def name_outputs(
    items: Sequence[str | Input],
    output: str | None,
    named: Iterable[str] = (),
    names: Mapping[Input, str | None] = NONE,
) -> tuple[Path | None, ...]:
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
    inputs = tuple(map(look, items))
    if output is None:
        return tuple(_default_output(item, name) if (name := names.get(item)) else None for item in inputs)
    if _is_one_file(output):
        if len(inputs) > 1:
            raise RequestError(f"--output {output}: is one file, but there are {len(inputs)} inputs; give a folder")
        return (Path(output),)
    _check_folder(output)
    roots = [root for name in named if (root := _root(name)) is not None]
    outputs: dict[Path, Input] = {}
    for item in inputs:
        kind = ".nii.gz" if _is_volume(item) else ".tif"
        path = Path(output) / _relative_folder(item, roots) / ((names.get(item) or stem_of(item.text)) + "_mask" + kind)
        if path in outputs:
            raise RequestError(
                f"{item.name}: would have the same output {path} as {outputs[path].name}; "
                "segment them into different folders"
            )
        outputs[path] = item
    return tuple(outputs)


def expected_output(job: Job, item: Input) -> Path:
    """Return where the mask of a job is written: its output, or its name beside the input."""
    kind = ".nii.gz" if job.output is None and _is_volume(item) else ".tif"
    return job.output or output_folder(item.text) / (stem_of(item.text) + "_mask" + kind)


def _check_folder(output: str) -> None:
    if not names_folder(output):
        hint = "; `pipeline export` converts a mask to it" if suffix_of(output) in (".dcm", *SIDECARS, *VECTORS) else ""
        raise RequestError(f"--output {output}: is neither a folder nor one of {', '.join(mask_suffixes())}{hint}")


def _is_one_file(output: str) -> bool:
    return mask_format(output) is not None and not output.endswith("/")


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


def _relative_folder(item: Input, roots: Sequence[Path]) -> Path:
    parent = item.path.parent  # of a folder that is an item itself, this may lie above
    root = next((root for root in roots if item.path.is_relative_to(root)), parent)
    placed = item.is_path and parent.is_relative_to(root)
    return parent.relative_to(root) if placed else Path()


def _items(name: str) -> Sequence[str | Input]:
    if not is_path(name):
        return [name]
    path = Path(name)
    if path.is_dir() and not is_store(path):
        return _require(
            sorted(_walk(path), key=str), f"{name}: contains no GeoTIFF, NIfTI or Zarr, and no CT or MR in DICOM"
        )
    if glob.has_magic(name) and not path.exists():
        found = [Path(item) for item in sorted(glob.glob(name, recursive=True))]  # noqa: PTH207  (absolute ones too)
        return _require(
            [str(item) for item in _without_pair_images(found) if _is_item(item)], f"{name}: no file matches"
        )
    if path.suffix in _TABLES:
        return _require(_column(path), f"{name}: has no rows")
    return [name]


def _walk(folder: Path) -> Iterator[str | Input]:
    """Yield the inputs below `folder`, except hidden ones and those inside of stores and unfinished runs.

    A folder of DICOM files is one input, unless it has files of other formats: then these were made from it.
    """
    for parent, folders, files in os.walk(folder):
        named = [Path(parent, name) for name in (*files, *folders)]
        folders[:] = [name for name in folders if not name.startswith(".") and Path(name).suffix not in _CLOSED]
        found = [str(path) for path in named if is_input(path) and _is_item(path)]
        yield from found or _as_one_input(_folder_name(Path(parent)))
        for path in named:
            yield from _as_one_input(str(path)) if path.suffix.lower() == ".zip" else []


def _as_one_input(name: str) -> list[Input]:
    """Return a folder or zip as a list of one input, if all its files belong to one; else an empty list."""
    item = look(name)
    return [item] if item.format.gathers else []


def _folder_name(folder: Path) -> str:
    """Return the path of a folder with a name: `.` and `..` have none that a mask could use."""
    return str(folder if folder.name not in ("", "..") else folder.resolve())


def _without_pair_images(found: Sequence[Path]) -> Iterator[Path]:
    """Leave out the `.img` of NIfTI pairs whose header was found too."""
    known = set(found)
    return (item for item in found if (header := parts(item)[0]) == item or header not in known)


def _is_item(path: Path) -> bool:
    hidden = path.name.startswith(".") or path.suffix == ".partial"
    return not hidden and not _OURS.search(stem_of(path)) and (is_store(path) or not path.is_dir())


def _is_volume(item: Input) -> bool:
    """Return whether an input's mask is a volume; an input that cannot be opened reports that when its turn comes."""
    if item.format.kind is not None:
        return item.format.kind == "volume"
    try:
        return is_store(item.path) and not open_source(item).grid.is_scene
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
