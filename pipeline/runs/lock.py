"""Let one run at a time write an output: a second one learns who holds it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from pipeline.errors import HeldError, OutputError
from pipeline.files.atomic import remove

_MOMENT = 0.2
"""Seconds to wait for a run that is just letting go."""
_FORMER_LOCK, _FORMER_HOLDER = "lock", "holder.json"
"""What earlier versions locked: a file in the work folder."""


@contextmanager
def output_lock(work: Path, output: Path) -> Iterator[None]:
    """Hold `output`, whose work folder is `work`; a crash releases it.

    The lock is a hidden file beside the output, so that the work folder may be deleted while it is held. It is removed
    before it is released: whoever waits for it then looks for a new one.

    Raises:
        HeldError: With process, machine and time, if another run holds it.
        OutputError: If it cannot be created.

    """
    place = lock_of(output)
    lock = FileLock(place, timeout=_MOMENT)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise _held(output, place) from error
    except OSError as error:
        raise OutputError(f"{output}: cannot be created ({error.strerror}); give another --output") from error
    try:
        _tell_holder(lock, place)
        _check_former_lock(work, output)
        yield
    finally:
        _release(lock, place)


def lock_of(output: Path) -> Path:
    """Return the file that is locked while an output is written."""
    return output.with_name(f".{output.name}.lock")


def is_held(output: Path) -> bool:
    """Return whether a run is writing an output at the moment."""
    place = lock_of(output)
    if not place.exists():
        return False
    lock = FileLock(place, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:
        return False
    _release(lock, place)
    return False


def clear_work_folder(work: Path) -> None:
    """Make a work folder that is empty."""
    remove(work)
    work.mkdir(parents=True)


def _release(lock: FileLock, place: Path) -> None:
    if not isinstance(lock, SoftFileLock):
        with suppress(OSError):
            place.unlink()
    lock.release()


def _tell_holder(lock: FileLock, place: Path) -> None:
    """Write who holds a lock into it; where the system has no locks, the library does."""
    if not isinstance(lock, SoftFileLock):
        now = datetime.now(UTC).isoformat(timespec="seconds")
        told = {"process": os.getpid(), "machine": socket.gethostname(), "since": now}
        with suppress(OSError):  # of a full disk, whatever is written next tells
            place.write_text(json.dumps(told), encoding="utf-8")


def _check_former_lock(work: Path, output: Path) -> None:
    """Raise HeldError if a run of an earlier version is writing in the work folder."""
    place = work / _FORMER_LOCK
    if not place.exists():
        return
    try:
        with FileLock(place, timeout=0):
            pass
    except Timeout as error:
        raise _held(output, work / _FORMER_HOLDER) from error


def _held(output: Path, told: Path) -> HeldError:
    return HeldError(
        f"{output}: is being written by {_describe_holder(told)}; wait for it, stop it, or give another --output"
    )


def _describe_holder(file: Path) -> str:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return f"process {told['process']} on {told['machine']} since {told['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another run"
