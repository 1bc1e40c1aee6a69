"""Segment many inputs one after the other: a failure is reported and the others continue; finished ones are skipped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from time import monotonic, sleep
from typing import Any

from pipeline.archive.archive import Archive, WorkItem
from pipeline.engine.observer import check_stop
from pipeline.errors import (
    CHANGED,
    LASTING,
    UNREACHABLE,
    HeldError,
    InputError,
    Interrupted,
    LateError,
    ModelError,
    OutputError,
    PatchError,
    PipelineError,
    RequestError,
    counted,
)
from pipeline.io.address import as_utf8
from pipeline.jobs.job import Job, Resources
from pipeline.jobs.outputs import find_clashes
from pipeline.runs.observer import RunContext, Stoppable
from pipeline.runs.report import HELD, Report
from pipeline.runs.segment import segment_in
from pipeline.runs.shared_workers import SharedWorkers

SAME_OUTPUT = "same-output"
"""Code of items whose masks would have the same name."""
_LOOK = 0.25
"""Seconds between two looks at items that other runs hold."""
_log = logging.getLogger(__name__)


def segment_all(jobs: Sequence[Job], run: RunContext, archive: Archive | None = None) -> list[Report]:
    """Segment each job, and return the reports in order; see `run_items` for `archive`.

    Raises:
        Interrupted: If the run is to stop.

    """
    shares = len(jobs) > 1 and (run.resources.workers or run.resources.scheduler) is not None
    with SharedWorkers() as workers:
        shared = replace(run, workers=workers if shares else None)

        def each(work: WorkItem, number: int, count: int) -> Report:
            observer = Stoppable(run.observer.item(work.job, number, count), workers.stop)
            report = segment_one(work.job, replace(shared, resources=work.resources, observer=observer))
            run.observer.finished(report if archive is None else left_to_others(report))
            return report

        return run_items(jobs, shared, each, archive, workers.mapped if shares else map)


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
    work_items = _work_items(jobs, run.resources, archive)
    left = [work for work in work_items if work.report is None]
    for report in (work.report for work in work_items if work.report is not None):
        run.observer.known(report)

    for work in left:
        if work.why is not None:
            run.observer.remark(_report(work, f"{work.why}; it is made again"))
    call = _Call(left, run, each, archive)
    reports = list(mapped(call.make, range(1, len(left) + 1), left))
    if archive is not None:
        reports = call.wait(reports, archive)
    now = iter(reports)
    return [work.report or next(now) for work in work_items]


def _work_items(jobs: Sequence[Job], resources: Resources, archive: Archive | None) -> list[WorkItem]:
    refused = {job: _refused(job, why, archive) for job, why in find_clashes(jobs).items()}
    others = [job for job in jobs if job not in refused]
    plain = [WorkItem(job, resources) for job in others]
    chosen = iter(plain if archive is None else archive.choose(others, resources))
    return [refused.get(job) or next(chosen) for job in jobs]


@dataclass(frozen=True)
class _Call:
    """The items that are left in a run, and what is called for each."""

    left: Sequence[WorkItem]
    run: RunContext
    each: Callable[[WorkItem, int, int], Report]
    archive: Archive | None

    def make(self, number: int, work: WorkItem) -> Report:
        """Make the mask of an item unless another run has done so, or is doing so, or this one is to stop."""
        check_stop(self.run.observer)
        if self.archive is None:
            return self.each(work, number, len(self.left))
        claim = self.archive.claim(work)
        if isinstance(claim, Report):
            self.run.observer.known(claim)
            return claim
        with self.archive.running(claim):
            if number < len(self.left):
                self.archive.read_ahead(self.left[number])
            return self.archive.finish(claim, left_to_others(self.each(claim.work, number, len(self.left))))

    def wait(self, reports: Sequence[Report], archive: Archive) -> list[Report]:
        """Look again at the items that other runs hold: at each that is done, or whose run has died, for a while."""
        found, end = list(reports), monotonic() + archive.wait
        held = [at for at, report in enumerate(found) if report.code == HELD]
        if held:
            self.run.observer.remark(_waiting([found[at] for at in held]))
        while held and monotonic() < end:
            for at in [at for at in held if archive.is_free(self.left[at])]:
                found[at] = self.make(len(found), self.left[at])
                end = monotonic() + archive.wait
            held = [at for at in held if found[at].code == HELD]
            check_stop(self.run.observer)
            sleep(_LOOK if held else 0)
        return found


def _refused(job: Job, why: str, archive: Archive | None) -> WorkItem:
    """Return an item that is not made, because its mask would have the name of another's."""
    report = replace(failure_report(job, InputError(why)), code=SAME_OUTPUT)
    if archive is not None:
        archive.refuse(job, report)
    return WorkItem(job, Resources(), report)


def left_to_others(report: Report) -> Report:
    """Return a report in which an item that another run holds is skipped, and has not failed."""
    return replace(report, status="skipped") if report.code == HELD else report


def _waiting(held: Sequence[Report]) -> Report:
    """Return the report of the first item that other runs hold, with their number."""
    return replace(held[0], reason=f"waiting for {counted(len(held), 'item')} of other runs; {held[0].reason}")


def _report(work: WorkItem, reason: str) -> Report:
    output = None if work.job.output is None else str(work.job.output)
    return Report(work.job.name, output, "skipped", reason, 0.0, 0)


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
    reason = as_utf8(reason)
    if job.name not in reason:
        reason = f"{job.name}: {reason}"
    output = None if job.output is None else as_utf8(str(job.output))
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
CODES = (*LASTING, *_CODES.values(), UNREACHABLE, SAME_OUTPUT, CHANGED, "error")
"""Kinds of reasons for which an item fails."""
