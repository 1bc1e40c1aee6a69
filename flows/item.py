"""One scene or volume as a task: retried, limited in time, shown with its progress and its result."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Annotated, Any, cast
from uuid import UUID

from prefect import State, task
from prefect.artifacts import (
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.concurrency.sync import concurrency
from prefect.events import emit_event
from prefect.states import Cancelled
from prefect.tasks import Task

from flows.naming import TAG
from flows.server import ensure_limit, stopped_when_canceled
from pipeline import Job, Report, Resources, segment
from pipeline.archive import Archive, WorkItem, failure_report, run_items
from pipeline.decoding import Meaning
from pipeline.errors import UNREACHABLE, HeldError, InputError, Interrupted, LateError, RequestError, UnreachableError
from pipeline.runs import HELD, SILENT, Observer, RunContext, SharedWorkers, Stoppable

FAILED = "pipeline.item.failed"
"""Event of an item that failed, after all attempts."""
_SECONDS = 1.0
"""Minimum time between two updates of a progress artifact."""


@dataclass(frozen=True)
class Bounds:
    """Limits for the items of a flow."""

    at_once: Annotated[int, Meaning("Items that are segmented at the same time.")] = 1
    limit: Annotated[
        str | None,
        Meaning("Name of a global concurrency limit of Prefect; each item takes a slot, e.g. of a shared GPU."),
    ] = None
    seconds: Annotated[
        float | None,
        Meaning("Time limit in seconds for each attempt at an item; a retry resumes from finished slabs."),
    ] = None
    slots: Annotated[int, Meaning("Slots of `limit` if it does not exist yet: it is created.")] = 1

    def __post_init__(self) -> None:
        if min(self.at_once, self.slots) < 1 or (self.seconds is not None and self.seconds <= 0):
            raise RequestError(
                f"at_once is {self.at_once}, slots {self.slots} and seconds {self.seconds}; all must be positive"
            )

    def slot(self) -> AbstractContextManager[None]:
        """Return a slot of the limit, which `segment_items` has created if it was missing."""
        return nullcontext() if self.limit is None else concurrency(self.limit, occupy=1, strict=True)


def is_retryable(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Return whether a retry may succeed: a wrong request stays wrong, and a held output belongs to another run."""
    try:
        state.result()
    except InputError as error:
        return error.code == UNREACHABLE
    except UnreachableError:
        return True
    except (RequestError, HeldError):
        return False
    except Exception:
        return True
    return False


@task(
    name="segment item",
    task_run_name="{job.name}",
    tags={TAG},
    retries=2,
    retry_delay_seconds=[5, 60],
    retry_jitter_factor=0.5,
    retry_condition_fn=is_retryable,
    cache_policy=NO_CACHE,
)
def segment_item(
    job: Job,
    resources: Resources,
    bounds: Bounds = Bounds(),
    stop: Event | None = None,
    workers: SharedWorkers | None = None,
) -> Report | State[Any]:
    """Segment one scene or volume; a retry resumes from finished slabs. The task is canceled if `stop` is set."""
    run = RunContext(resources, _create_tracker("Cells done"), workers)
    with bounds.slot():
        try:
            report = _segment_in_time(job, run, bounds.seconds, stop or Event())
        except Interrupted as error:
            return Cancelled(message=f"{error}")
    create_table_artifact([asdict(report)], description=f"Mask of {job.name}")
    if report.output is not None:
        show_link(report.output, f"Mask of {job.name}")
    return report


def show_link(place: str | Path, what: str, key: str | None = None) -> None:
    """Show a file or an address as a link artifact."""
    link = str(place) if "://" in str(place) else Path(place).absolute().as_uri()
    create_link_artifact(link, str(place), key=key, description=what)


class _Deadline(Stoppable):
    """Stops once an event is set, and when the time is over."""

    def __init__(self, to: Observer, stop: Event, seconds: float | None) -> None:
        super().__init__(to, stop)
        self._end = inf if seconds is None else monotonic() + seconds

    def should_stop(self) -> bool:
        return super().should_stop() or monotonic() > self._end


def _segment_in_time(job: Job, run: RunContext, seconds: float | None, stop: Event) -> Report:
    """Segment a job; it is stopped between two patches when its time is over."""
    try:
        return segment(job, run.resources, _Deadline(run.observer, stop, seconds), workers=run.workers)
    except Interrupted as error:
        if stop.is_set():
            raise
        raise LateError(f"{job.name}: took longer than {seconds:g} s; finished slabs are kept") from error


def _run_item(work: WorkItem, bounds: Bounds, workers: SharedWorkers) -> Report:
    """Run an item as a task and return its report, however it ended. Raises Interrupted if the flow is to stop."""
    state = segment_item(work.job, work.resources, bounds, workers.stop, workers, return_state=True)
    if state.is_completed():
        return cast("Report", state.result())
    if state.is_cancelled():
        raise Interrupted
    return failure_report(work.job, state.result(raise_on_failure=False))


def segment_items(
    jobs: list[Job],
    run: RunContext,
    bounds: Bounds,
    archive: Archive | None,
) -> list[Report]:
    """Segment items, as many at a time as `bounds` allows, and return all reports in order of the jobs.

    Their number is a progress artifact, and each failure is an event. Ctrl-C, or a canceled flow, stops running items
    between two patches.

    Raises:
        Interrupted: If the flow run was canceled.

    """
    if bounds.limit is not None:
        ensure_limit(bounds.limit, bounds.slots)
    progress = _create_tracker("Items done")
    workers = SharedWorkers()

    def each(work: WorkItem, number: int, count: int) -> Report:
        if number == 1:
            progress.started(count, 0)
        report = _run_item(work, bounds, workers)
        progress.advanced(1)
        if report.status == "failed" and report.code != HELD:
            _emit_failure(report)
        return report

    with ThreadPoolExecutor(bounds.at_once, "item") as pool, workers, stopped_when_canceled(workers.stop):

        def mapped(call: Callable[..., Any], *items: Iterable[Any]) -> Iterable[Any]:
            together = list(zip(*items, strict=True))
            return pool.map(
                lambda context, words: context.run(call, *words), [copy_context() for _ in together], together
            )

        try:
            return run_items(jobs, run, each, archive, mapped)
        except BaseException:
            workers.stop.set()
            raise


def _emit_failure(report: Report) -> None:
    """Emit the event of an item that failed, to which an automation may react."""
    resource = {"prefect.resource.id": f"pipeline.item.{report.input}", "prefect.resource.name": report.input}
    payload = {name: getattr(report, name) for name in ("input", "output", "code", "reason")}
    emit_event(FAILED, resource, payload=payload)


class _Tracker(Observer):
    """A progress artifact, updated at most once a second."""

    def __init__(self, artifact: UUID) -> None:
        self._artifact = artifact
        self._total, self._done, self._told = 1, 0.0, 0.0

    def started(self, cells: int, done: int) -> None:
        self._total, self._done = cells, float(done)

    def advanced(self, cells: float) -> None:
        self._done += cells
        if monotonic() - self._told > _SECONDS or self._done >= self._total:
            self._told = monotonic()
            update_progress_artifact(self._artifact, 100 * min(1.0, self._done / self._total))


def _create_tracker(description: str) -> Observer:
    artifact = create_progress_artifact(0.0, description=description)
    return _Tracker(artifact) if isinstance(artifact, UUID) else SILENT
