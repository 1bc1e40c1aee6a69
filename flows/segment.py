"""Flows that segment: the jobs of `pipeline run --prefect`, or everything that a job file stands for.

They call the same steps as the command line. Each item is a task, and none stops another. Masks and the ledger decide
what is done, never what a server remembers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from prefect import flow, tags
from prefect.artifacts import create_table_artifact

from flows.item import Bounds, segment_items
from flows.naming import run_name, tags_of
from pipeline import Job, Report, Resources
from pipeline.archive import LEDGER_NAME, WAIT, open_archive
from pipeline.errors import PipelineError, RequestError, counted
from pipeline.jobs import check, folder_of, jobs_of, read_request
from pipeline.runs import RunContext

_LISTED = 1000
"""Maximum number of rows in a table artifact: failures first."""


class ItemsFailedError(PipelineError):
    """Some items failed; `reports` has the reports of all items."""

    def __init__(self, reports: list[Report]) -> None:
        failed = [report for report in reports if report.missing]
        super().__init__(
            f"{len(failed)} of {counted(len(reports), 'item')} failed: " + "; ".join(str(r.reason) for r in failed)
        )
        self.reports = reports


@flow(name="segment", flow_run_name=run_name)
def segment_flow(
    jobs: list[Job],
    means: Resources = Resources(),
    ledger: Path | None = None,
    bounds: Bounds = Bounds(),
    verify: bool = False,
    wait: float = WAIT,
) -> list[Report]:
    """Segment each job, and show a table of the results as an artifact.

    Args:
        jobs: What is segmented, with which model, and where to.
        means: Speed and memory.
        ledger: Ledger of an archive; finished items are skipped.
        bounds: Limits for the items.
        verify: Whether the bytes of finished items are compared first.
        wait: Seconds to wait at the end for items that other runs are working on.

    Raises:
        ItemsFailedError: If any failed, after all were tried.

    """
    with open_archive(ledger, verify=verify, wait=wait) as archive:
        reports = segment_items(jobs, RunContext(means), bounds, archive)
    create_reports_artifact(reports, "masks", "Results by item")
    if any(report.missing for report in reports):
        raise ItemsFailedError(reports)
    return reports


@flow(name="segment-archive", flow_run_name=run_name)
def archive_flow(config: Path, means: Resources = Resources(), bounds: Bounds = Bounds()) -> list[Report]:
    """Segment everything that a job file stands for, with a ledger, as `pipeline run --config` does.

    Args:
        config: The job file (TOML).
        means: Speed and memory.
        bounds: Limits for the items.

    Raises:
        ItemsFailedError: If any failed, after all were tried.
        NothingFoundError: If there is no input.

    """
    request = read_request(config)
    check(request)
    jobs = jobs_of(request)
    reports: list[Report] = segment_flow.fn(jobs, means, folder_of(request, jobs) / LEDGER_NAME, bounds)
    return reports


def run_flow(
    jobs: Sequence[Job],
    means: Resources,
    ledger: Path | None = None,
    *,
    verify: bool = False,
    wait: float = WAIT,
) -> list[Report]:
    """Run the flow here, tracked by the configured server, or by a temporary one.

    Raises:
        RequestError: If an address contains credentials, because Prefect stores the parameters of its flows.

    """
    if signed := [job.name for job in jobs if job.signed]:
        raise RequestError(
            f"{signed[0]}: the address contains credentials, which Prefect would store; run with --no-prefect"
        )
    try:
        with tags(*tags_of(jobs)):
            return segment_flow(list(jobs), means, ledger, verify=verify, wait=wait)
    except ItemsFailedError as error:
        return error.reports
    except RuntimeError as error:
        raise PipelineError(f"cannot reach Prefect ({error}); check its server, or run with --no-prefect") from error


def create_reports_artifact(reports: Sequence[Report], key: str, description: str) -> None:
    """Show reports as a table artifact, failures first if there are too many."""
    rows = sorted(reports, key=lambda report: report.status != "failed") if len(reports) > _LISTED else reports
    more = "" if len(rows) <= _LISTED else f" ({_LISTED} of {len(rows)}; the ledger has all)"
    create_table_artifact([asdict(report) for report in rows[:_LISTED]], key=key, description=description + more)
