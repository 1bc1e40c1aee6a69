"""Find the inputs in folders and by patterns, and say what is left out: masks, labels, phase images, other formats."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePath

from pipeline.errors import RequestError, counted
from pipeline.files.object_path import ObjectPath, is_object
from pipeline.files.walk import expand_pattern, walk
from pipeline.io.formats import Input, is_input, is_named_only, look
from pipeline.io.suffixes import STORES, is_store, stem_of
from pipeline.io.volume.nifti_pairs import parts
from pipeline.jobs.bids import SEGMENTATION, is_part
from pipeline.jobs.layers import LAYERS

_OURS = re.compile(rf"(_mask|_{SEGMENTATION})(_({'|'.join(LAYERS)}))?$")
_LABELS = re.compile(r"(?:^|[._-])(?:(?:d|a|prob)?seg|segmentations?|labels?|labelmap|gt)(?:-\d+)?$", re.IGNORECASE)
"""Stems of labels: of BraTS, KiTS, LiTS, ACDC, BIDS, FreeSurfer and Slicer."""
_SEGMENTS = re.compile(r"\.seg\.nrrd$", re.IGNORECASE)
_MAYBE_LABELS = re.compile("seg|label|gt|mask|truth", re.IGNORECASE)
"""What is in all of these names: most have none of it."""
_LABEL_FOLDERS = re.compile(r"(?:labels?|masks?|segmentations?|ground_?truth)(?:Tr|Ts|Va|Val)?", re.IGNORECASE)
"""Names of folders of labels, such as those of the Medical Segmentation Decathlon."""
_ZIP = ".zip"
_CLOSED = (*STORES, ".partial")
"""Suffixes of folders in which nothing is looked for."""


@dataclass(frozen=True)
class Found:
    """What a folder or a pattern stands for."""

    inputs: tuple[str | Input, ...]
    labels: tuple[Path | str, ...] = ()
    """Files left out because their names, or those of their folders, are those of labels."""
    phases: tuple[Path | str, ...] = ()
    """Parts of complex images of BIDS, other than magnitude."""
    others: tuple[PurePath, ...] = ()
    """Files that GDAL reads, but of formats that a folder does not stand for."""

    def left_out(self, name: str) -> list[str]:
        """Return a line for each kind of files that were left out of `name`."""
        lines = [
            f"{name}: leaves out {counted(len(paths), kind)}, e.g. {paths[0]}; name them to segment them"
            for kind, paths in (("file of labels", self.labels), ("phase image", self.phases))
            if paths
        ]
        return lines + ([self._other_formats(name)] if self.others else [])

    def _other_formats(self, name: str) -> str:
        counts = Counter(path.suffix.lower() for path in self.others)
        listed = ", ".join(f"{count} {suffix}" for suffix, count in sorted(counts.items()))
        files = counted(len(self.others), "file")
        named = f"**/*{min(counts, key=lambda suffix: (-counts[suffix], suffix))}"
        pattern = f"{name.rstrip('/')}/{named}" if is_object(name) else Path(name) / named
        return f"{name}: leaves out {files} of other formats ({listed}); a pattern takes them: --input '{pattern}'"


def find_in_folder(folder: Path) -> Found:
    """Find the inputs below `folder`, except hidden ones and those inside of stores and unfinished runs.

    A folder of DICOM files is one input, unless it has files of other formats: then these were made from it.
    """
    inputs: list[str | Input] = []
    left: list[Path] = []
    for parent, folders, files in walk(folder, _is_open):
        named = [parent / name for name in (*files, *folders)]
        found = [path for path in named if is_input(path) and _is_taken(path)]
        inputs += map(str, found)
        left += [path for path in named if is_named_only(path) and _is_taken(path)]
        if not found:
            inputs += _as_one_input(_folder_name(parent))
        inputs += [item for path in named if path.suffix.lower() == _ZIP for item in _as_one_input(str(path))]
    return _sorted_out(inputs, left, folder)


def find_by_pattern(pattern: str) -> Found:
    """Find the inputs that match a pattern; labels too if the pattern names them."""
    found = [Path(path) for path in expand_pattern(pattern)]
    taken = [str(path) for path in _without_pair_images(found) if _is_taken(path)]
    if asks_for_labels(pattern):
        return Found(tuple(taken))
    return _sorted_out(taken, [], _fixed(pattern))


def asks_for_labels(pattern: str) -> bool:
    """Return whether a pattern names labels."""
    return bool(_LABELS.search(stem_of(pattern).replace("*", "")) or _SEGMENTS.search(pattern))


def root_of(name: str) -> ObjectPath:
    """Return the prefix below which the objects lie that a name stands for: of a pattern, what is before wildcards.

    Raises:
        RequestError: The name of the bucket has wildcards.

    """
    place = ObjectPath.parse(name)
    if glob.has_magic(place.bucket):
        raise RequestError(f"{name}: has wildcards in the name of its bucket; give one command for each bucket")
    fixed = takewhile(lambda part: not glob.has_magic(part), place.key.split("/"))
    return ObjectPath(place.scheme, place.bucket, "/".join(fixed))


def is_ours(name: str) -> bool:
    """Return whether a name is that of one of our masks, or of a layer."""
    return _OURS.search(stem_of(name)) is not None


def _fixed(pattern: str) -> Path:
    """Return the folder of a pattern before its first wildcard."""
    kept: list[str] = []
    for part in Path(pattern).parts:
        if glob.has_magic(part):
            break
        kept.append(part)
    return Path(*kept)


def _sorted_out(inputs: Iterable[str | Input], others: Sequence[Path], root: Path) -> Found:
    """Leave out labels, by their names and those of their folders below `root`, and phase images."""
    found = sorted(inputs, key=str)
    labels = [item for item in found if are_labels(Path(str(item)), root)]
    phases = [item for item in found if "_part-" in str(item) and is_part(Path(str(item)))]
    left = {str(item) for item in (*labels, *phases)}
    kept = tuple(item for item in found if str(item) not in left)
    return Found(
        kept, tuple(Path(str(item)) for item in labels), tuple(Path(str(item)) for item in phases), tuple(others)
    )


def are_labels(path: PurePath, root: PurePath) -> bool:
    """Return whether a file is labels, by its name and those of its folders below `root`."""
    if not _MAYBE_LABELS.search(str(path)):
        return False
    above = path.parent.relative_to(root).parts if path.parent.is_relative_to(root) else ()
    named = _LABELS.search(stem_of(path if isinstance(path, Path) else path.name)) or _SEGMENTS.search(path.name)
    return bool(named) or any(_LABEL_FOLDERS.fullmatch(part) for part in above)


def _is_open(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix not in _CLOSED


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


def _is_taken(path: Path) -> bool:
    """Return whether a path is neither hidden nor one of our masks."""
    hidden = path.name.startswith(".") or path.suffix == ".partial"
    return not hidden and not _OURS.search(stem_of(path)) and (is_store(path) or not path.is_dir())


def object_of(text: str) -> ObjectPath | None:
    """The object of this name; None where only GDAL takes such a name, as one with two slashes in a row."""
    try:
        return ObjectPath.parse(text) if is_object(text) else None
    except RequestError:
        return None
