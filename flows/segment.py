"""Flows that segment: the jobs of `pipeline run --prefect`, or everything that a job file stands for.

They call the same steps as the command line. Each item is a task, and none stops another. Masks and the ledger decide
what is done, never what a server remembers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

from prefect import flow, tags
from prefect.artifacts import create_table_artifact
from prefect.exceptions import CancelledRun
from prefect.states import Cancelled, Completed

from flows.item import Bounds, segment_items, show_link
from flows.naming import LedgerName, run_name, tags_of
from pipeline import Job, Report, Resources
from pipeline.archive import WAIT, Place, ledger_here, ledger_of, open_archive, place_of
from pipeline.errors import Interrupted, PipelineError, RequestError, counted
from pipeline.jobs import check, folder_of, jobs_of, read_request
from pipeline.reports import check_report_of_run, report_run
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
    ledger: LedgerName = None,
    bounds: Bounds = Bounds(),
    verify: bool = False,
    wait: float = WAIT,
    report: bool = False,
) -> list[Report]:
    """Segment each job, and show a table of the results as an artifact.

    Args:
        jobs: What is segmented, with which model, and where to.
        means: Speed and memory.
        ledger: Ledger of an archive, a file or the address of a database without its password; finished items are
            skipped.
        bounds: Limits for the items.
        verify: Whether the bytes of finished items are compared first.
        wait: Seconds to wait at the end for items that other runs are working on.
        report: Whether a page that shows the mask, or the archive, is written beside it.

    Raises:
        ItemsFailedError: If any failed, after all were tried.

    """
    place = None if ledger is None else place_of(ledger)
    if report and jobs:
        check_report_of_run(jobs[0], None if place is None else ledger_here(place), overwrite=means.overwrite)
    try:
        with open_archive(place, verify=verify, wait=wait) as archive:
            reports = segment_items(jobs, RunContext(means), bounds, archive)
    except Interrupted as error:
        return canceled(error)
    create_reports_artifact(reports, "masks", "Results by item")
    if report and jobs:
        show_report(jobs[0], reports[0], place, overwrite=means.overwrite)
    if any(report.missing for report in reports):
        raise ItemsFailedError(reports)
    return completed(reports, summary(reports))


@flow(name="segment-archive", flow_run_name=run_name)
def archive_flow(
    config: Path,
    means: Resources = Resources(),
    bounds: Bounds = Bounds(),
    ledger: LedgerName = None,
    report: bool = False,
) -> list[Report]:
    """Segment everything that a job file stands for, with a ledger, as `pipeline run --config` does.

    Args:
        config: The job file (TOML).
        means: Speed and memory.
        bounds: Limits for the items.
        ledger: Ledger of the archive, a file or the address of a database without its password; by default that of
            PIPELINE_LEDGER, or a file with the masks.
        report: Whether a page that shows the archive is written beside the ledger.

    Raises:
        ItemsFailedError: If any failed, after all were tried.
        NothingFoundError: If there is no input.

    """
    request = read_request(config)
    check(request)
    jobs = jobs_of(request)
    place = ledger_of(place_of(ledger) if ledger else None, folder_of(request, jobs))
    with tags(*tags_of(jobs)):
        reports: list[Report] = segment_flow.fn(jobs, means, str(place), bounds, report=report)
    return reports


def run_flow(
    jobs: Sequence[Job],
    means: Resources,
    ledger: Place | None = None,
    *,
    verify: bool = False,
    wait: float = WAIT,
    report: bool = False,
) -> list[Report]:
    """Run the flow here, tracked by the configured server, or by a temporary one.

    Raises:
        RequestError: If an address contains credentials, because Prefect stores the parameters of its flows.
        Interrupted: If the flow run was canceled on the server.

    """
    _check_secrets(jobs, ledger)
    said = None if ledger is None else str(ledger)
    try:
        with tags(*tags_of(jobs)):
            return segment_flow(list(jobs), means, said, verify=verify, wait=wait, report=report)
    except ItemsFailedError as error:
        return error.reports
    except CancelledRun as error:
        raise Interrupted from error
    except RuntimeError as error:
        raise PipelineError(f"cannot reach Prefect ({error}); check its server, or run with --no-prefect") from error


def _check_secrets(jobs: Sequence[Job], ledger: Place | None) -> None:
    if signed := [job.name for job in jobs if job.signed]:
        raise RequestError(
            f"{signed[0]}: the address contains credentials, which Prefect would store; run with --no-prefect"
        )
    if ledger is not None and place_of(str(ledger)) != ledger:
        raise RequestError(
            f"--ledger {ledger}: has a password, which Prefect would store; put the address into PIPELINE_LEDGER, "
            "or run with --no-prefect"
        )


def completed(reports: list[Report], message: str) -> list[Report]:
    """Return the result of a flow with a message for the state of its run, of which Prefect takes the result."""
    return cast("list[Report]", Completed(message=message, data=reports))


def canceled(error: Interrupted) -> list[Report]:
    """Return what a flow returns that was canceled: the state, from which Prefect raises CancelledRun."""
    return cast("list[Report]", Cancelled(message=f"{error}"))


def summary(reports: Sequence[Report]) -> str:
    """Return how many items there are, and how they ended, for the state of a flow run."""
    counts = Counter(report.status for report in reports)
    return f"{counted(len(reports), 'item')}: " + ", ".join(f"{count} {status}" for status, count in counts.items())


def show_report(job: Job, made: Report, ledger: Place | None, *, overwrite: bool = False) -> None:
    """Write the page of a run, and show it as a link artifact."""
    page = report_run(job, made, None if ledger is None else ledger_here(ledger), overwrite=overwrite)
    if page is not None:
        show_link(page, "Report", key="report")


def create_reports_artifact(reports: Sequence[Report], key: str, description: str) -> None:
    """Show reports as a table artifact, failures first if there are too many."""
    rows = sorted(reports, key=lambda report: report.status != "failed") if len(reports) > _LISTED else reports
    more = "" if len(rows) <= _LISTED else f" ({_LISTED} of {len(rows)}; the ledger has all)"
    create_table_artifact([asdict(report) for report in rows[:_LISTED]], key=key, description=description + more)
