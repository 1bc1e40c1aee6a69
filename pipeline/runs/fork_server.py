"""The server from which worker processes are forked: it imports what they need while the command prepares its job."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

from pipeline.jobs.job import Job, Resources

METHOD = "forkserver" if sys.platform == "linux" else "spawn"
"""How worker processes begin. The frameworks of macOS do not survive a fork, and Windows has none."""
_IMPORTED = ["pipeline.runs.cluster", "pipeline.runs.execute", "pipeline.runs.segment"]
_ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
"""What Dask sets for workers, and libraries read when they are loaded, unless the user has set it."""


def expect_workers(jobs: Iterable[Job], resources: Resources) -> None:
    """Start the server if any of these jobs will need workers of this machine; what is there already needs none."""
    if resources.workers is not None and any(
        resources.overwrite or not (isinstance(job.output, Path) and job.output.exists()) for job in jobs
    ):
        start_fork_server()


def start_fork_server() -> None:
    """Start the server in the background, if there is none yet; it ends with the last process that knows it."""
    if METHOD != "forkserver":
        return
    with block_interrupts(), environment_kept():
        os.environ.update({name: os.environ.get(name, to) for name, to in _ENVIRONMENT.items()})
        forkserver.set_forkserver_preload(_IMPORTED)
        forkserver.ensure_running()
    atexit.unregister(_stop_importing)
    atexit.register(_stop_importing)


def _stop_importing() -> None:
    """End the server now, or it holds what it inherited, such as a pipe on stdout, until it has imported everything."""
    server = getattr(forkserver, "_forkserver", None)
    if (pid := getattr(server, "_forkserver_pid", None)) and not multiprocessing.active_children():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextmanager
def block_interrupts() -> Iterator[None]:
    """Block Ctrl-C in processes that start meanwhile: a terminal sends it to all, but this process stops them."""
    resource_tracker.ensure_running()  # would otherwise begin with the first process, and unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def environment_kept() -> Iterator[None]:
    """Undo what is set meanwhile of variables for workers: Dask leaves them to all that this process starts later."""
    before = {name: os.environ.get(name) for name in (*_ENVIRONMENT, "PYTHONHASHSEED")}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
