"""Where an output and its work folder are kept: on a disk that every worker sees, or in an object store."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import OutputError, PipelineError
from pipeline.files.atomic import remove
from pipeline.files.object_path import ObjectPath, OutputPath
from pipeline.optional import need
from pipeline.runs.disk_storage import DiskStorage
from pipeline.runs.lock import is_held

if TYPE_CHECKING:
    from pipeline.runs.object_storage import ObjectStorage

_open: dict[str, ObjectStorage] = {}
"""The storages of outputs in object stores that runs of this process are writing, by their folders here."""


def storage_of(output: OutputPath) -> DiskStorage:
    """Return the storage of an output.

    Raises:
        RequestError: If it is in an object store, and the library for these is not installed.

    """
    return DiskStorage(output) if isinstance(output, Path) else _storage_of_object(output)


def _storage_of_object(output: ObjectPath) -> ObjectStorage:
    place = f"{output.folder}"
    if place not in _open:
        need("objects", f"{output}")
        from pipeline.runs.object_storage import ObjectStorage

        _open[place] = ObjectStorage(output)
    return _open[place]


@contextmanager
def at_hand(output: ObjectPath) -> Iterator[ObjectPath]:
    """Give the folder of an output on this machine to the block, and remove it with what is in it."""
    try:
        yield output
    finally:
        _open.pop(f"{output.folder}", None)
        remove(output.folder)


def stamp_of_object(place: ObjectPath) -> str | None:
    """Return what the store tells of an object, or of all objects of a store; None if there is none."""
    need("objects", f"{place}")
    from pipeline.runs.object_storage import stamp_of

    return stamp_of(place)


def stamps_of_objects(places: Collection[ObjectPath]) -> dict[ObjectPath, str | None]:
    """Return the same of many, as far as stores tell it in fewer requests than one for each."""
    if not places:
        return {}
    need("objects", f"{next(iter(places))}")
    from pipeline.runs.object_storage import stamps_of

    return stamps_of(places)


def recorded_stamp(mask: ObjectPath) -> str | None:
    """Return what the store told of a mask when it was written, by the record beside it; None if there is none."""
    with at_hand(mask.begun()) as output:
        return _storage_of_object(output).recorded()


def is_there(output: OutputPath) -> bool:
    """Return whether an output exists."""
    return output.exists() if isinstance(output, Path) else stamp_of_object(output) is not None


@contextmanager
def copied(place: OutputPath) -> Iterator[Path]:
    """Give a mask as a file of this machine: an object is copied for the time of the block."""
    if isinstance(place, Path):
        yield place
        return
    need("objects", f"{place}")
    from pipeline.runs.object_storage import copy_to

    with at_hand(place.begun()) as copy, told(copy):
        copy_to(copy, copy.folder)
        yield copy.here


def fetch_object(place: ObjectPath, file: Path) -> None:
    """Write an object to a file of this machine, if there is such an object."""
    need("objects", f"{place}")
    from pipeline.runs.object_storage import fetch

    fetch(place, file)


def send_object(file: Path, place: ObjectPath) -> None:
    """Put a file of this machine as an object."""
    need("objects", f"{place}")
    from pipeline.runs.object_storage import send

    send(file, place)


def is_being_written(output: OutputPath) -> bool:
    """Return whether a run is writing an output at the moment."""
    if isinstance(output, Path):
        return is_held(output)
    need("objects", f"{output}")
    from pipeline.runs.object_storage import is_locked

    return is_locked(output)


@contextmanager
def told(output: ObjectPath) -> Iterator[None]:
    """Have errors name objects in place of the files of this machine that become them."""
    try:
        yield
    except PipelineError as error:
        error.args = tuple(renamed(output, each) if isinstance(each, str) else each for each in error.args)
        if (full := _full(error)) is not None:
            raise OutputError(
                f"{output}: the disk of {output.folder.parent} is full ({full.strerror}), on which outputs are until "
                "they are sent; free some space, or set TMPDIR to a folder on another disk; the same command continues"
            ) from error
        raise


def renamed(output: ObjectPath, text: str) -> str:
    """Return text with objects in place of the files of this machine that become them."""
    return text.replace(f"{output.folder}/", f"{output.parent}".rstrip("/") + "/")


def _full(error: BaseException | None) -> OSError | None:
    """Return the error of a disk that is full, if that is what an error comes from."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return error
        error = error.__cause__ or error.__context__
    return None
