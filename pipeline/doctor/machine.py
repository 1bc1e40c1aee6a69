"""The machine: memory and disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from pipeline.doctor.finding import Finding, broken, ok, remark
from pipeline.errors import size_text

LITTLE_MEMORY, LITTLE_DISK = 2 << 30, 2 << 30
"""Bytes below which a run of usual size may fail."""
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Files in which a container's limit is."""


def check_memory() -> Iterator[Finding]:
    """Look at the memory that is free, and at the limit of a container."""
    memory, limit = psutil.virtual_memory(), _limit()
    total = min(memory.total, limit or memory.total)
    free = min(memory.available, total)
    text = f"{size_text(free)} free of {size_text(total)}"
    facts = {"total": total, "free": free, "limit": limit}
    text += (
        ""
        if limit is None or limit >= memory.total
        else f", which this container is limited to of {size_text(memory.total)}"
    )
    if free < LITTLE_MEMORY:
        yield remark("memory", text, "run with --memory 500MiB, and without --workers", **facts)
    else:
        yield ok("memory", text, **facts)


def _limit() -> int | None:
    """Return the most bytes that a container may use; None: no limit, or it is unknown."""
    for path in _LIMITS:
        with suppress(OSError, ValueError):
            return int(Path(path).read_text(encoding="ascii"))
    return None


def check_disk() -> Iterator[Finding]:
    """Look at the folders in which files are made: the current one, and that of temporary files."""
    for name, folder in (("the current folder", Path.cwd()), ("temporary files", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free
        text = f"{name} ({folder}): {size_text(free)} free"
        facts = {"folder": str(folder), "free": free, "writable": os.access(folder, os.W_OK)}
        if not facts["writable"]:
            state = remark if folder == Path.cwd() else broken
            yield state("disk", f"{text}, but nothing can be written there", "give an --output elsewhere", **facts)
        elif free < LITTLE_DISK:
            yield remark("disk", text, "free some; `pipeline plan` says what a run takes", **facts)
        else:
            yield ok("disk", text, **facts)
