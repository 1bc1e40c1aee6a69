"""A `map` on Dask: here in this process, in processes of this machine, or on a cluster. Only this module knows Dask."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import Any, TypeVar

import dask
from dask.base import compute
from dask.delayed import delayed
from distributed import Client, Future, LocalCluster, wait
from distributed.scheduler import KilledWorker

from pipeline.errors import PipelineError, RequestError

Task = TypeVar("Task")
_TICK, _PATIENCE = 0.3, 10.0
"""Seconds between two looks at the tasks, and to wait for a scheduler."""


def map_here(function: Callable[[Task], None], tasks: Sequence[Task]) -> None:
    """Call `function` with each task on Dask's threads, one at a time: a task brings threads of its own."""
    compute(*[delayed(function)(task) for task in tasks], scheduler="threads", num_workers=1)


def map_out(
    function: Callable[[Task], None],
    tasks: Sequence[Task],
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    tick: Callable[[], None],
) -> None:
    """Call `function` with each task in `workers` processes, or on the cluster of `scheduler`, and wait for all.

    `tick` is called a few times a second meanwhile. The first error is raised when nothing is running any more.
    """
    with _client(workers, scheduler) as client, client.as_current():
        futures = [client.submit(function, task, pure=False) for task in tasks]
        try:
            _follow(futures, tick)
        except BaseException:
            client.cancel(futures, force=True)
            raise
        try:
            client.gather(futures)
        except KilledWorker as error:
            raise PipelineError(
                "a worker died again and again, most likely for want of memory; give fewer --workers or less --memory"
            ) from error


def _follow(futures: list[Future[None]], tick: Callable[[], None]) -> None:
    waiting = set(futures)
    while waiting:
        with suppress(TimeoutError):
            waiting = set(wait(waiting, timeout=_TICK, return_when="FIRST_COMPLETED").not_done)
        tick()


@contextmanager
def _client(workers: int | None, scheduler: str | None) -> Iterator[Client]:
    if scheduler is not None:
        try:
            with Client(scheduler, timeout=_PATIENCE, set_as_default=False) as client:
                yield client
        except OSError as error:
            raise RequestError(f"no Dask scheduler answers at {scheduler} ({error}); see to its address") from error
        return
    quiet: dict[str, Any] = {"dashboard_address": None, "silence_logs": 50}
    with dask.config.set({"distributed.worker.daemon": False}), _undisturbed():
        cluster = LocalCluster(n_workers=workers, threads_per_worker=1, **quiet)
    with cluster, Client(cluster, set_as_default=False) as client:
        yield client


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Processes that begin meanwhile never see Ctrl-C, which a terminal sends to all: to stop them is our business."""
    resource_tracker.ensure_running()  # would otherwise begin with the first process, and unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
