"""Let one run at a time write an output: a second one learns who holds it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import HeldError, OutputError
from pipeline.files.atomic import remove

_LOCK, _HOLDER = "lock", "holder.json"


@contextmanager
def output_lock(work: Path, output: Path) -> Iterator[None]:
    """Hold the work folder of `output`, which is created if needed; a crash releases it.

    Raises:
        HeldError: With process, machine and time, if another run holds it.
        OutputError: If it cannot be created.

    """
    lock = FileLock(work / _LOCK, timeout=0)
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        (work / _HOLDER).write_text(json.dumps(_holder()), encoding="utf-8")
    except Timeout as error:
        raise HeldError(
            f"{output}: is being written by {_describe_holder(work)}; wait for it, stop it, or give another --output"
        ) from error
    except OSError as error:
        raise OutputError(f"{work}: cannot be created ({error.strerror}); give another --output") from error
    try:
        yield
    finally:
        lock.release()


def clear_work_folder(work: Path) -> None:
    """Empty a work folder, except for its lock."""
    for path in work.iterdir():
        if path.name not in (_LOCK, _HOLDER):
            remove(path)


def _holder() -> dict[str, object]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"process": os.getpid(), "machine": socket.gethostname(), "since": now}


def _describe_holder(work: Path) -> str:
    try:
        told = json.loads((work / _HOLDER).read_text(encoding="utf-8"))
        return f"process {told['process']} on {told['machine']} since {told['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another run"
