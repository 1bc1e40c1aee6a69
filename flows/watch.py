"""The flow behind a schedule: new inputs of a job file are segmented, and nothing is done twice.

A run lists the inputs, leaves out what the archive's ledger knows as done and what is still being written, and makes a
task of each that is left. Runs may overlap, be lost or come twice: the ledger and the lock of each output decide.
"""

from __future__ import annotations

import time
from pathlib import Path

from prefect import flow, get_run_logger

from flows.item import Bounds, segment_items
from flows.naming import run_name
from flows.segment import ItemsFailedError, create_reports_artifact
from pipeline import Job, Report, Resources
from pipeline.archive import LEDGER_NAME, open_archive
from pipeline.errors import NothingFoundError
from pipeline.jobs import Request, check, folder_of, jobs_of, read_request
from pipeline.runs import Observer, RunContext


class _KnownReports(Observer):
    """Keeps the reports of skipped items."""

    def __init__(self) -> None:
        self.reports: list[Report] = []

    def known(self, report: Report) -> None:
        self.reports.append(report)


@flow(name="watch", flow_run_name=run_name)
def watch_flow(
    config: Path,
    settle: float = 10.0,
    means: Resources = Resources(),
    bounds: Bounds = Bounds(),
    ledger: Path | None = None,
) -> list[Report]:
    """Segment the current inputs of a job file, except those that are still being written.

    Args:
        config: The job file (TOML).
        settle: Seconds for which a file must not have changed.
        means: Speed and memory.
        bounds: Limits for the items.
        ledger: Ledger of the archive; by default with the masks.

    Returns:
        The reports of all items.

    Raises:
        ItemsFailedError: If an item failed that had not failed before: a broken input makes only one run fail.

    """
    request = read_request(config)
    check(request)
    jobs = _without_recent(_jobs(request), settle)
    if not jobs:
        get_run_logger().info("no inputs yet")
        return []
    before = _KnownReports()
    with open_archive(ledger or folder_of(request, jobs) / LEDGER_NAME) as archive:
        reports = segment_items(jobs, RunContext(means, before), bounds, archive)
    new = [report for report in reports if report.status != "skipped" and report not in before.reports]
    get_run_logger().info("%d items, %d of them new", len(reports), len(new))
    if new:
        create_reports_artifact(new, "new-masks", "What this run found")
    if any(report.status == "failed" for report in new):
        raise ItemsFailedError(new)
    return reports


def _jobs(request: Request) -> list[Job]:
    try:
        return jobs_of(request)
    except NothingFoundError:
        return []


def _without_recent(jobs: list[Job], settle: float) -> list[Job]:
    """Leave out jobs whose input changed in the last `settle` seconds; addresses are kept."""
    now = time.time()
    return [job for job in jobs if not (path := Path(job.input)).exists() or now - path.stat().st_mtime > settle]
