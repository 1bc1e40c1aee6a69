"""Segment many inputs one after the other: a failure is reported and the others continue; finished ones are skipped."""

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
    """Segment each job, and return the reports in order; see `run_items` for `archive`.

    Raises:
        Interrupted: If the run is to stop.

    """

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
    """Call `each` for every job that is not finished yet, and return all reports in order of the jobs.

    Args:
        jobs: The jobs.
        run: Resources, and the observer, which is given the reports of skipped items.
        each: Makes the mask of an item; it is given the item, its number from 1 and their count.
        archive: Its finished and quarantined items are skipped, and results are entered; items that another run holds
            are left to that run.
        mapped: Maps `each` over the items, like `map`, or several at once.

    Raises:
        RequestError: Before the first item, if finished masks were made with other options.

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
    """Segment a job; a failure of its input, its output or its computation becomes the report."""
    try:
        return segment_in(run, job)
    except Interrupted:
        raise
    except Exception as error:
        _log.debug("%s", job.name, exc_info=True)
        return failure_report(job, error)


def failure_report(job: Job, error: object) -> Report:
    """Return the report of a job that ended with `error`."""
    reason = str(error) if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}; --debug shows where"
    if job.name not in reason:
        reason = f"{job.name}: {reason}"
    output = None if job.output is None else str(job.output)
    return Report(job.name, output, "failed", reason, 0.0, 0, code=error_code(error))


def error_code(error: object) -> str:
    """Return the kind of an error as a word: "unreadable" and "unsuitable" inputs fail again, others may not."""
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
