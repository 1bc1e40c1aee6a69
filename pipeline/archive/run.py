"""Many inputs, one after the other: a bad one is named and the rest go on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from threading import Event
from typing import Protocol

from pipeline.errors import Interrupted, PipelineError
from pipeline.job import Job, Means
from pipeline.progress import Progress
from pipeline.segmentation import Report, segment

_log = logging.getLogger(__name__)


class Audience(Protocol):
    """Who follows the items."""

    def item(self, job: Job, number: int, count: int) -> Progress:
        """Callbacks for the next item, the `number`-th of `count`."""
        ...

    def finished(self, report: Report) -> None:
        """Called when an item is over, however it ended."""
        ...


def segment_all(jobs: Sequence[Job], means: Means, audience: Audience, stop: Event | None = None) -> list[Report]:
    """Segment each job; the reports in order. Raises Interrupted if `stop` is set."""
    reports = []
    for number, job in enumerate(jobs, 1):
        reports.append(segment_one(job, means, audience.item(job, number, len(jobs)), stop))
        audience.finished(reports[-1])
    return reports


def segment_one(job: Job, means: Means, progress: Progress, stop: Event | None = None) -> Report:
    """Segment a job; what goes wrong with its input, its output or its computation is in the report."""
    try:
        return segment(job, means, progress, stop)
    except Interrupted:
        raise
    except Exception as error:
        _log.debug("%s", job.input, exc_info=True)
        return failure(job, error)


def failure(job: Job, error: object) -> Report:
    """The report of a job that ended with `error`."""
    reason = str(error) if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}; --debug shows where"
    if job.input not in reason:
        reason = f"{job.input}: {reason}"
    return Report(job.input, None if job.output is None else str(job.output), "failed", reason, 0.0, 0)
