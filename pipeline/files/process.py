"""Processes: which one this is, and whether another still runs."""

from __future__ import annotations

import os
import platform
import re
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_CLOCK = 2.0
"""Seconds by which the start of one process may seem to differ: a clock that is set."""


@dataclass(frozen=True)
class Process:
    """A process on a machine. Another one may get its number, but not with the same start."""

    number: int
    machine: str
    started: float
    """Seconds since 1970."""

    @property
    def has_ended(self) -> bool:
        """Whether it is certain that the process has ended: of one on another machine it never is."""
        if self.machine != machine():
            return False
        try:
            return bool(abs(psutil.Process(self.number).create_time() - self.started) > _CLOCK)
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False

    def __str__(self) -> str:
        return f"process {self.number} on {self.machine}"


@cache
def machine() -> str:
    """Return the name of this machine."""
    return socket.gethostname()


def processor_name() -> str:
    """Return the name of the processor of this machine, as far as the system tells."""
    with suppress(OSError):
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()


def this_process() -> Process:
    """Return the process that calls."""
    return Process(os.getpid(), machine(), psutil.Process().create_time())


def peak_memory() -> int | None:
    """Return the most bytes of memory that this process has held; None where the system does not tell."""
    if resource is None:
        return getattr(psutil.Process().memory_info(), "peak_wset", None)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def is_running(number: int) -> bool:
    """Return whether a process of this machine has that number."""
    return bool(psutil.pid_exists(number))


def memory_used() -> int:
    """Return the bytes in use by this process and those it started; pages of files and shared ones count here alone."""
    this = psutil.Process()
    used = int(this.memory_info().rss)
    for process in this.children(recursive=True):
        with suppress(psutil.Error):
            about = process.memory_info()
            used += int(about.rss - getattr(about, "shared", 0))
    return used


def users_of(path: Path) -> list[Process]:
    """Return the other processes of this machine that have a file open, of those that this user may look at."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and str(path.resolve()) in {file.path for file in process.open_files()}:
                found.append(Process(process.pid, machine(), process.create_time()))
    return found


def resident() -> int:
    """Return the bytes of memory that this process takes now."""
    return int(psutil.Process().memory_info().rss)
