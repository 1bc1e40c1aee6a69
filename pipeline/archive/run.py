"""Many inputs, one after the other: a bad one is named and the rest go on; what is done is left alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pipeline.archive.archive import HELD, Archive, WorkItem
from pipeline.errors import (
    HeldError,
    InputError,
    Interrupted,
    LateError,
    ModelError,
    OutputError,
    PatchError,
    PipelineError,
    RequestError,
)
from pipeline.jobs.job import Job
from pipeline.runs.observer import RunContext
from pipeline.runs.report import Report
from pipeline.runs.segment import segment_in

_log = logging.getLogger(__name__)


def segment_all(jobs: Sequence[Job], run: RunContext, archive: Archive | None = None) -> list[Report]:
    """Segment each job; the reports in order. Raises Interrupted; see `run_items` for `archive`."""

    def each(work: WorkItem, number: int, count: int) -> Report:
        report = segment_one(work.job, RunContext(work.resources, run.observer.item(work.job, number, count)))
        run.observer.finished(report)
        return report

    return run_items(jobs, run, each, archive)


def run_items(
    jobs: Sequence[Job],
    run: RunContext,
    each: Callable[[WorkItem, int, int], Report],
    archive: Archive | None = None,
    mapped: Callable[..., Iterable[Any]] = map,
) -> list[Report]:
    """Have `each` make the mask of each job, the first of so many and so on; all reports, in order of the jobs.

    With an `archive`, those that its ledger knows as done or quarantined are left alone, and the observer is told; what
    becomes of the others is entered; those that another run is making are left to it. `mapped` is how `each` comes to
    the items, one after the other or several at once. Raises RequestError, before the first, for masks that were made
    otherwise.
    """
    work_items = (
        [WorkItem(job, run.resources) for job in jobs] if archive is None else archive.choose(jobs, run.resources)
    )
    left = [work for work in work_items if work.report is None]
    for report in (work.report for work in work_items if work.report is not None):
        run.observer.known(report)

    def make(number: int, work: WorkItem) -> Report:
        if archive is None:
            return each(work, number, len(left))
        with archive.running(work) as entry:
            if number < len(left):
                archive.read_ahead(left[number])
            return archive.finish(work, entry, each(work, number, len(left)))

    now = iter(list(mapped(make, range(1, len(left) + 1), left)))
    return [work.report or next(now) for work in work_items]


def segment_one(job: Job, run: RunContext) -> Report:
    """Segment a job; what goes wrong with its input, its output or its computation is in the report."""
    try:
        return segment_in(run, job)
    except Interrupted:
        raise
    except Exception as error:
        _log.debug("%s", job.name, exc_info=True)
        return failure_report(job, error)


def failure_report(job: Job, error: object) -> Report:
    """The report of a job that ended with `error`."""
    reason = str(error) if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}; --debug shows where"
    if job.name not in reason:
        reason = f"{job.name}: {reason}"
    output = None if job.output is None else str(job.output)
    return Report(job.name, output, "failed", reason, 0.0, 0, code=error_code(error))


def error_code(error: object) -> str:
    """The kind of an error, in a word: "unreadable" and "unsuitable" inputs will fail again, others may not."""
    if isinstance(error, InputError):
        return error.code
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), "error")


_CODES = {
    HeldError: HELD,
    LateError: "late",
    PatchError: "patch",
    ModelError: "model",
    RequestError: "request",
    OutputError: "output",
    MemoryError: "memory",
    OSError: "system",
}
"""By type, the first that fits."""
