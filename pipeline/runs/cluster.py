"""Map a function over tasks with Dask: here, on this machine, or on a cluster. Only this module imports Dask."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import dask
import distributed.utils
from dask.base import compute
from dask.delayed import delayed
from distributed import Client, Future, LocalCluster, wait
from distributed.scheduler import KilledWorker

from pipeline.errors import PipelineError, RequestError
from pipeline.runs.fork_server import METHOD, block_interrupts, start_fork_server

Task = TypeVar("Task")
Result = TypeVar("Result")
GPU = "GPU"
"""Resource of workers with a GPU each, as Dask's users name it."""
_TICK, _PATIENCE = 0.3, 10.0
"""Seconds between two looks at the tasks, and to wait for a scheduler."""


def map_local(function: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
    """Call `function` with each task on Dask's threads, one at a time: each task has threads of its own."""
    return list(compute(*[delayed(function)(task) for task in tasks], scheduler="threads", num_workers=1))


def map_distributed(
    function: Callable[[Task], Result],
    tasks: Callable[[int], Mapping[str, Task]],
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    tick: Callable[[], None],
) -> list[Result]:
    """Call `function` with each task in worker processes or on a cluster, and return all results.

    Workers that declare the resource GPU run one task at a time for each of their GPUs.

    Args:
        function: What each task is given to.
        tasks: Returns the tasks by name for a number of workers.
        workers: Processes on this machine.
        scheduler: Address, scheduler file or cluster description instead.
        tick: Called a few times per second while tasks run.

    Raises:
        RequestError: If the scheduler cannot be reached.
        PipelineError: If a worker keeps dying, or the scheduler does. The first error of a task is raised when no task
            is running any more.

    """
    with _client(workers, scheduler) as client, client.as_current():
        there = _workers(client)
        slots = workers or sum(int(about["resources"].get(GPU, about["nthreads"])) for about in there)
        needed = {GPU: 1} if there and all(about["resources"].get(GPU) for about in there) else None
        futures = [
            client.submit(function, task, key=f"{name} {uuid4().hex[:8]}", pure=False, resources=needed)
            for name, task in tasks(max(1, slots)).items()
        ]
        try:
            _wait_for(futures, tick)
            return list(client.gather(futures))
        except KilledWorker as error:
            raise PipelineError("a worker kept dying, probably out of memory; reduce --workers or --memory") from error
        except CancelledError as error:
            raise _lost(scheduler) from error
        except BaseException:
            client.cancel(futures, force=True)
            raise


def _lost(scheduler: str | None) -> PipelineError:
    """The error of tasks that were canceled, which nobody but a scheduler does."""
    return PipelineError(
        f"the Dask scheduler {scheduler or 'of this run'} ended, or the connection to it was lost; finished work is "
        "kept: start a scheduler and run the same command again to continue"
    )


def _workers(client: Client) -> list[dict[str, Any]]:
    """Return the workers that have connected, waiting a little for the first."""
    with suppress(TimeoutError):
        client.wait_for_workers(1, timeout=_PATIENCE)
    return list(client.scheduler_info(n_workers=-1)["workers"].values())


def _wait_for(futures: list[Future[Any]], tick: Callable[[], None]) -> None:
    waiting = set(futures)
    while waiting:
        with suppress(TimeoutError):
            waiting = set(wait(waiting, timeout=_TICK, return_when="FIRST_COMPLETED").not_done)
        tick()


@contextmanager
def _client(workers: int | None, scheduler: str | None) -> Iterator[Client]:
    if scheduler is not None:
        with _connect(scheduler) as client:
            yield client
        return
    quiet: dict[str, Any] = {
        "dashboard_address": None,
        "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},  # else port 8787, which another run may hold
        "silence_logs": 50,
    }
    start_fork_server()
    distributed.utils._forkserver_preload_set = True  # else Dask imports pandas here, to have it preloaded
    settings = {"distributed.worker.daemon": False, "distributed.worker.multiprocessing-method": METHOD}
    with dask.config.set(settings), block_interrupts():
        cluster = LocalCluster(n_workers=workers, threads_per_worker=1, **quiet)
    with cluster, Client(cluster, set_as_default=False) as client:
        yield client


@contextmanager
def _connect(scheduler: str) -> Iterator[Client]:
    """Connect to a scheduler by its address or scheduler file (.json), or start the cluster that a file describes."""
    if Path(scheduler).suffix == ".toml":
        with _cluster(Path(scheduler)) as cluster, Client(cluster, set_as_default=False) as client:
            yield client
        return
    if Path(scheduler).suffix == ".json" and not Path(scheduler).exists():
        raise RequestError(f"{scheduler}: no such scheduler file; start `dask scheduler --scheduler-file` first")
    where = {"scheduler_file": scheduler} if Path(scheduler).suffix == ".json" else {"address": scheduler}
    try:
        client = Client(timeout=_PATIENCE, set_as_default=False, **where)
    except (OSError, ValueError) as error:
        raise RequestError(f"cannot connect to a Dask scheduler at {scheduler} ({error}); check the address") from error
    with client:
        yield client


def _cluster(spec: Path) -> Any:  # noqa: ANN401  (a cluster of any library)
    """Start the cluster that a file describes: `cluster = "module:Class"`, its `workers`, and its `options`.

    The class is any that follows Dask's cluster interface, such as `dask_jobqueue:SLURMCluster`.
    """
    try:
        said = tomllib.loads(spec.read_text(encoding="utf-8"))
        module, _, name = said["cluster"].partition(":")
        cluster = getattr(import_module(module), name)(**said.get("options", {}))
        if "workers" in said:
            cluster.scale(said["workers"])
    except OSError as error:
        raise RequestError(f"{spec}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, ImportError, AttributeError, TypeError) as error:
        raise RequestError(
            f'{spec}: does not describe a cluster ({type(error).__name__}: {error}); e.g. cluster = "module:Class", '
            "workers = 8, [options]"
        ) from error
    return cluster
