"""Map a function over tasks with Dask, in worker processes on this machine or on a cluster."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Event, RLock, get_ident
from typing import Any, TypeVar
from uuid import uuid4

import dask
import distributed.utils
from distributed import Client, Future, LocalCluster
from distributed.protocol.pickle import dumps
from distributed.scheduler import KilledWorker

from pipeline.errors import PipelineError, RequestError
from pipeline.runs.fork_server import METHOD, block_interrupts, environment_kept, start_fork_server
from pipeline.runs.versions import call_checked, versions_here, without_package

Task = TypeVar("Task")
Result = TypeVar("Result")
GPU = "GPU"
"""Resource of workers with a GPU each, as Dask's users name it."""
_TICK, _PATIENCE = 0.3, 10.0
"""Seconds between two looks at the tasks, and to wait for a scheduler."""


def map_distributed(
    function: Callable[[Task], Result],
    tasks: Callable[[int], Mapping[str, Task]],
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    tick: Callable[[], None],
) -> list[Result]:
    """Call `function` with each task in workers of its own, see `DaskWorkers`, and return all results."""
    there = DaskWorkers(workers, scheduler)
    try:
        return there.map(function, tasks, tick=tick)
    finally:
        there.close()


class _Dropped(Exception):  # noqa: N818
    """Another item stopped the workers."""


class DaskWorkers:
    """Worker processes on this machine, or the workers of a cluster, for one item or for several at a time.

    They start, or are connected to, with the first tasks. Workers that declare the resource GPU run one task at a time
    for each of their GPUs.

    Args:
        workers: Processes on this machine.
        scheduler: Address, scheduler file or cluster description instead.

    """

    def __init__(self, workers: int | None = None, scheduler: str | None = None) -> None:
        self._count, self._scheduler = workers, scheduler
        self._lock, self._stack = RLock(), ExitStack()
        self._client: Client | None = None
        self._needed: dict[str, int] | None = None
        self._slots = workers or 1
        self._waiting: dict[int, int] = {}

    @property
    def slots(self) -> int:
        """Tasks that run at a time."""
        return max(1, self._slots)

    @property
    def unfinished(self) -> int:
        """Tasks that wait or run."""
        return sum(list(self._waiting.values()))

    def map(
        self,
        function: Callable[[Task], Result],
        tasks: Callable[[int], Mapping[str, Task]],
        *,
        tick: Callable[[], None],
        submitted: Callable[[], None] = lambda: None,
    ) -> list[Result]:
        """Call `function` with each task, and return all results; several threads may do so at a time.

        Args:
            function: What each task is given to.
            tasks: Returns the tasks by name for a number of workers; 0: none has joined the cluster yet.
            tick: Called a few times per second while tasks run. What it raises stops all workers; tasks of other
                threads begin again.
            submitted: Called when the tasks are there.

        Raises:
            RequestError: If the scheduler cannot be reached.
            PipelineError: If a worker keeps dying, or the scheduler does. The first error of a task is raised when no
                task of this call is running any more.

        """
        while True:
            client = self._connected()
            named = tasks(self._slots)
            with suppress(_Dropped):
                return self._map(client, function, named, tick, submitted)
            tick()

    def close(self) -> None:
        """Stop the workers, and what they run, or leave the cluster."""
        with self._lock:
            self._client = None
            self._stack.close()

    def _map(
        self,
        client: Client,
        function: Callable[[Task], Result],
        tasks: Mapping[str, Task],
        tick: Callable[[], None],
        submitted: Callable[[], None],
    ) -> list[Result]:
        versions = dict(versions_here())
        sent = {f"{name} {uuid4().hex[:8]}": dumps((function, task)) for name, task in tasks.items()}
        try:
            futures = [
                client.submit(call_checked, versions, packed, key=key, pure=False, resources=self._needed)
                for key, packed in sent.items()
            ]
            self._wait(client, futures, tick, submitted)
            return list(client.gather(futures))
        except ModuleNotFoundError as error:
            raise without_package(error) from error
        except KilledWorker as error:
            raise PipelineError("a worker kept dying, probably out of memory; reduce --workers or --memory") from error
        except (CancelledError, OSError, RuntimeError) as error:
            if client is not self._client:
                raise _Dropped from error
            if isinstance(error, CancelledError):
                raise _lost(self._scheduler) from error
            raise
        finally:
            self._waiting.pop(get_ident(), None)

    def _wait(
        self, client: Client, futures: list[Future[Any]], tick: Callable[[], None], submitted: Callable[[], None]
    ) -> None:
        waiting, ended = set(futures), Event()
        for future in futures:
            future.add_done_callback(lambda _: ended.set())  # `wait` needs a default client, which threads cannot share
        self._waiting[get_ident()] = len(waiting)
        submitted()
        while waiting:
            ended.wait(_TICK)
            ended.clear()
            waiting = {future for future in waiting if not future.done()}
            self._waiting[get_ident()] = len(waiting)
            try:
                tick()
            except BaseException:
                self._drop(client, futures)
                raise

    def _connected(self) -> Client:
        with self._lock:
            if self._client is not None and self._client.status != "running":
                self.close()
            if self._client is None:
                self._client = self._stack.enter_context(_client(self._count, self._scheduler))
            if self._scheduler is not None:
                self._look(self._client)
            return self._client

    def _look(self, client: Client) -> None:
        """See which workers have joined the cluster, and whether they want one task for each GPU."""
        there = [(about["resources"].get(GPU), about["nthreads"]) for about in _workers(client)]
        self._needed = {GPU: 1} if there and all(gpus for gpus, _ in there) else None
        slots = sum(int(threads if gpus is None else gpus) for gpus, threads in there)
        self._slots = self._count or slots

    def _drop(self, client: Client, futures: list[Future[Any]]) -> None:
        """Stop tasks that run: that takes the end of their workers."""
        with self._lock:
            if client is self._client:
                client.cancel(futures, force=True)
                self.close()


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
    settings: dict[str, Any] = {
        "distributed.worker.daemon": False,
        "distributed.worker.multiprocessing-method": METHOD,
        "distributed.worker.profile.enabled": False,  # else a thread looks at every stack 100 times a second
    }
    with environment_kept(), dask.config.set(settings):  # also for workers that replace others
        with block_interrupts():
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
