"""Where masks are written: the output of each input, the folder of an archive, and outputs of the same name."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path, PurePath, PurePosixPath

from pipeline.errors import PipelineError, RequestError
from pipeline.files.case import ignores_case
from pipeline.files.object_path import ObjectPath, OutputPath, is_object, output_path
from pipeline.io.address import as_utf8, is_path, output_folder
from pipeline.io.formats import Input, look, mask_format, mask_suffixes
from pipeline.io.opening import open_source
from pipeline.io.suffixes import SIDECARS, VECTORS, is_store, names_folder, stem_of, suffix_of
from pipeline.jobs.bids import mask_path, owner_of
from pipeline.jobs.folders import object_of, root_of
from pipeline.jobs.job import Job
from pipeline.jobs.request import Request

NONE: Mapping[Input, str | None] = {}


def outputs_of(request: Request, found: Mapping[Input, str | None]) -> tuple[OutputPath | None, ...]:
    """Return the output of each input of a request, of which some have names of their own; None for the default.

    Raises:
        RequestError: If two inputs would have the same output, or a dataset cannot have its masks there.

    """
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
    if is_one_file(output):
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


def _default_output(item: Input, name: str) -> Path:
    return output_folder(item.text) / f"{name}_mask.tif"


def expected_output(job: Job) -> OutputPath:
    """Return where the mask of a job is written: its output, or its name beside the input."""
    return job.output or output_folder(job.input) / _mask_name(look(job.input), None)


def _is_volume(item: Input) -> bool:
    """Return whether an input's mask is a volume; an input that cannot be opened reports that when its turn comes."""
    if item.format.kind is not None:
        return item.format.kind == "volume"
    try:
        return (item.remote or is_store(item.path)) and not open_source(item).grid.is_scene
    except PipelineError:
        return False


def _check_folder(output: str) -> None:
    if is_object(output) and not ObjectPath.parse(output).key:
        return  # a bucket, in whose name a point is no suffix
    if not names_folder(output):
        hint = "; `pipeline export` converts a mask to it" if suffix_of(output) in (".dcm", *SIDECARS, *VECTORS) else ""
        raise RequestError(f"--output {output}: is neither a folder nor one of {', '.join(mask_suffixes())}{hint}")


def is_one_file(output: str) -> bool:
    """Return whether an output is that of one input, not a folder."""
    return mask_format(_named(output)) is not None and not output.endswith("/")


def _named(output: str) -> str | ObjectPath:
    """An output of which the suffix is asked for: an address of an object has no parameters."""
    return ObjectPath.parse(output) if is_object(output) else output


def _relative_folder(item: Input, roots: Sequence[Path | ObjectPath]) -> PurePath:
    if (place := object_of(item.text)) is not None:
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
    return None if object_of(name) is None else root_of(name)


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
