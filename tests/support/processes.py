"""Processes that begin at once: forked from one that has imported already what they need, which takes seconds."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import psutil

WARM = [
    "distributed",
    "pipeline.cli",
    "pipeline.archive.run",
    "pipeline.runs.execute",
    "pipeline.runs.segment",
    "pipeline.runs.view_averaging",
    "pipeline.runs.warm_up",
    "tests.journeys.test_kills",
]
"""What every process here has imported when it begins, so that one that is killed is killed at work."""


def warm() -> ForkServerContext:
    """Processes like Python's own, each forked from one server."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(WARM)
    return context


def workers() -> list[psutil.Process]:
    """Dask's workers below this process, however they were begun."""
    below = psutil.Process().children(recursive=True)
    return [child for child in below if _is_worker(child)]


def _is_worker(process: psutil.Process) -> bool:
    spawned = any("spawn_main" in word for word in process.cmdline())
    parent = process.parent()
    forked = parent is not None and any("forkserver" in word for word in parent.cmdline())
    return spawned or forked


def start_pipeline(*words: object, out: Path, err: Path) -> ForkServerProcess:
    """Run `pipeline` with these words in a process; what it prints goes to files."""
    process = warm().Process(target=_pipeline, args=([str(word) for word in words], out, err))
    process.start()
    return process


def _pipeline(words: list[str], out: Path, err: Path) -> None:
    from pipeline.cli import main

    os.setsid()
    for stream, path in ((1, out), (2, err)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), stream)
    sys.argv = ["pipeline", *words]
    main()
