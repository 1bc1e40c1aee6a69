"""The flow behind `pipeline run --prefect`: one task per scene or volume, retried, reported, never stopped by another.

It calls the same steps as the command line, needs no server of its own and no network, and sends nothing anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "pipeline")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")

from prefect import State, flow, task
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.tasks import Task

from pipeline.archive.choice import archive_at
from pipeline.archive.run import failure, go_through
from pipeline.errors import PipelineError, RequestError
from pipeline.job import Job, Means
from pipeline.progress import Progress
from pipeline.segmentation import Report, segment

_SECONDS = 1.0
"""Least time between two updates of a progress artifact."""


def worth_another_try(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether a failure may pass: what is wrong with the request stays wrong."""
    try:
        state.result()
    except RequestError:
        return False
    except Exception:
        return True
    return False


@task(
    name="segment item",
    task_run_name="{job.input}",
    retries=2,
    retry_delay_seconds=[5, 60],
    retry_condition_fn=worth_another_try,
    cache_policy=NO_CACHE,
)
def segment_item(job: Job, means: Means) -> Report:
    """Segment one scene or volume; a retry goes on from the bands that are done."""
    return segment(job, means, _tracked())


class ItemsFailedError(PipelineError):
    """Some items failed; the flow shows it, and all reports are here."""

    def __init__(self, reports: list[Report]) -> None:
        failed = [report for report in reports if report.status == "failed"]
        super().__init__(f"{len(failed)} of {len(reports)} items failed: " + "; ".join(str(r.reason) for r in failed))
        self.reports = reports


@flow(name="segment")
def segment_flow(jobs: list[Job], means: Means = Means(), ledger: Path | None = None) -> list[Report]:
    """Segment each job, and show a table of the results as an artifact.

    With the `ledger` of an archive, what is done is left alone. Raises ItemsFailedError if any failed, after all were
    tried.
    """
    with archive_at(ledger) as archive:
        reports = go_through(jobs, means, tried, archive)
    create_table_artifact([asdict(report) for report in reports], key="masks", description="Results by item")
    if any(report.status == "failed" for report in reports):
        raise ItemsFailedError(reports)
    return reports


def run_flow(jobs: Sequence[Job], means: Means, ledger: Path | None = None) -> list[Report]:
    """Run the flow here, tracked by the server that is set up, or by one of its own while it runs."""
    try:
        return segment_flow(list(jobs), means, ledger)
    except ItemsFailedError as error:
        return error.reports
    except RuntimeError as error:
        raise PipelineError(
            f"Prefect does not answer ({error}); run with --no-prefect, or see to its server"
        ) from error


def tried(job: Job, means: Means, number: int, count: int) -> Report:
    """The report of a job as a task, however it ended."""
    state = segment_item(job, means, return_state=True)
    if state.is_completed():
        return state.result()
    return failure(job, state.result(raise_on_failure=False))


def _tracked() -> Progress:
    """Progress of one item as an artifact, at most once a second."""
    artifact = create_progress_artifact(0.0, description="Cells that are done")
    return Artifact(artifact).progress if isinstance(artifact, UUID) else Progress()


class Artifact:
    """A progress artifact, fed with cells."""

    def __init__(self, artifact: UUID) -> None:
        self._artifact = artifact
        self._total, self._done, self._told = 1, 0.0, 0.0
        self.progress = Progress(self._begun, self._advanced)

    def _begun(self, cells: int, done: int) -> None:
        self._total, self._done = cells, float(done)

    def _advanced(self, cells: float) -> None:
        self._done += cells
        if monotonic() - self._told > _SECONDS or self._done >= self._total:
            self._told = monotonic()
            update_progress_artifact(self._artifact, 100 * min(1.0, self._done / self._total))
