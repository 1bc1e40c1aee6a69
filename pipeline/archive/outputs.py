"""What is known of a mask that was written: size, time and SHA-256 of its files, and whether they still are that."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from stat import S_ISDIR
from typing import Final, Literal

from pipeline.archive.ledger import Written
from pipeline.files.object_path import ObjectPath, OutputPath, is_object
from pipeline.io.formats import look
from pipeline.io.opening import content_of
from pipeline.runs.storage import stamp_of_object

Fault = Literal["missing", "changed"]
_OBJECT = "object"
"""In place of the SHA-256 of an object: its stamp has an ETag, which is one of its bytes."""
TOUCHED: Final = "touched"
"""A file that has another time and the bytes that were written."""


def written(paths: Iterable[OutputPath], folder: Path | None) -> tuple[Written, ...]:
    """Return what is to be known of masks and layers that were just written; `folder` is that of the ledger."""
    places = list(paths)
    there = ((place, stamp_of_object(place)) for place in places if isinstance(place, ObjectPath))
    objects = tuple(Written(f"{place}", stamp, _OBJECT) for place, stamp in there if stamp is not None)
    return objects + _written([path for path in places if isinstance(path, Path)], folder)


def _written(paths: Iterable[Path], folder: Path | None) -> tuple[Written, ...]:
    files = (file for path in paths for file in look(path).paths)
    found = ((path, _stamp(path), content_of(path)) for path in files)
    return tuple(Written(relative_to(path, folder), stamp, sha) for path, stamp, sha in found if stamp and sha)


def fault_of(known: Written, folder: Path | None, *, verify: bool) -> Fault | None:
    """Return what is wrong with a file; by its size and time if they are as they were, unless it is to be verified."""
    found = compare(known, folder, verify=verify)
    return None if found is None or found == TOUCHED else found


def compare(
    known: Written,
    folder: Path | None,
    *,
    verify: bool,
    stamp_there: Callable[[ObjectPath], str | None] = stamp_of_object,
) -> Fault | Literal["touched"] | None:
    """Return what is wrong with a file, or whether only its time is another."""
    if is_object(known.path):
        stamp = stamp_there(ObjectPath.parse(known.path))
        return "missing" if stamp is None else None if stamp == known.stamp else "changed"
    path = os.path.join(folder or "", known.path)  # noqa: PTH118  (of thousands of files)
    stamp = _stamp(path)
    if stamp is None:
        return "missing"
    if stamp == known.stamp and not verify:
        return None
    if stamp.split()[0] != known.stamp.split()[0] or content_of(path) != known.sha256:
        return "changed"
    return None if stamp == known.stamp else TOUCHED


def renewed(known: Written, folder: Path | None) -> Written:
    """Return the record of a file whose bytes are as they were, with its present time."""
    place = path_in(folder, known.path)
    return known if isinstance(place, ObjectPath) else known._replace(stamp=_stamp(place) or known.stamp)


def describe_fault(path: OutputPath, fault: str) -> str:
    """Return a fault in words."""
    return f"{path}: " + ("is missing" if fault == "missing" else "is not as it was written: damaged or replaced")


def _stamp(path: str | Path) -> str | None:
    try:
        about = os.stat(path)  # noqa: PTH116  (of thousands of files)
        if not S_ISDIR(about.st_mode):
            return f"{about.st_size} {about.st_mtime_ns}"
        files = [file.stat() for file in _files(Path(path))]
    except OSError:
        return None
    return f"{sum(one.st_size for one in files)} {max((one.st_mtime_ns for one in files), default=0)}"


def _files(store: Path) -> list[Path]:
    return [Path(parent, name) for parent, _, names in os.walk(store) for name in names]


def relative_to(path: OutputPath, folder: Path | None) -> str:
    """Return how a ledger in `folder` names a file or an object."""
    if isinstance(path, ObjectPath):
        return f"{path}"
    whole = path.absolute()
    if folder is not None and whole.is_relative_to(root := folder.absolute()):
        return str(whole.relative_to(root))
    return str(whole)


def path_in(folder: Path | None, name: str) -> OutputPath:
    """Return where a file is that a ledger in `folder` names."""
    if is_object(name):
        return ObjectPath.parse(name)
    return Path(name) if folder is None else folder / name
