"""The flow behind a schedule: new inputs of a job file are segmented, and nothing is done twice.

A run lists the inputs, leaves out what the archive's ledger knows as done and what is still being written, and makes a
task of each that is left. Runs may overlap, be lost or come twice: the ledger and the lock of each output decide.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from prefect import flow, get_run_logger, tags

from flows.item import Bounds, segment_items
from flows.naming import LedgerName, run_name, tags_of
from flows.segment import ItemsFailedError, canceled, completed, create_reports_artifact, show_report, summary
from pipeline import Job, Report, Resources
from pipeline.archive import Place, caught_up, ledger_of, note_searched, open_archive, place_of
from pipeline.errors import Interrupted, NothingFoundError
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
    ledger: LedgerName = None,
    report: bool = False,
) -> list[Report]:
    """Segment the current inputs of a job file, except those that are still being written.

    Args:
        config: The job file (TOML).
        settle: Seconds for which a file must not have changed.
        means: Speed and memory.
        bounds: Limits for the items.
        ledger: Ledger of the archive, a file or the address of a database without its password; by default that of
            PIPELINE_LEDGER, or a file with the masks.
        report: Whether a page that shows the archive is written beside the ledger when there is something new.

    Returns:
        The reports of all items.

    Raises:
        ItemsFailedError: If an item failed that had not failed before: a broken input makes only one run fail.

    """
    request = read_request(config)
    check(request)
    said, began = place_of(ledger) if ledger else None, datetime.now(UTC)
    found = _jobs(caught_up(request, said, began))
    jobs = _without_recent(found, settle)
    if not jobs:
        get_run_logger().info("no inputs yet")
        return completed([], "no inputs yet")
    place, before = ledger_of(said, folder_of(request, jobs)), _KnownReports()
    try:
        with tags(*tags_of(jobs)), open_archive(place) as archive:
            reports = segment_items(jobs, RunContext(means, before), bounds, archive)
    except Interrupted as error:
        return canceled(error)
    if len(jobs) == len(found):
        note_searched(request, place, began, reports)
    new = [each for each in reports if each.status != "skipped" and each not in before.reports]
    get_run_logger().info("%d items, %d of them new", len(reports), len(new))
    _show(jobs, new, place if report else None)
    return completed(reports, f"{summary(reports)}; {len(new)} new")


def _show(jobs: list[Job], new: list[Report], page: Place | None) -> None:
    """Show what is new as artifacts; ItemsFailedError if some of it failed."""
    if not new:
        return
    create_reports_artifact(new, "new-masks", "What this run found")
    if page is not None:
        show_report(jobs[0], new[0], page)
    if any(each.status == "failed" for each in new):
        raise ItemsFailedError(new)


def _jobs(request: Request) -> list[Job]:
    try:
        return jobs_of(request)
    except NothingFoundError:
        return []


def _without_recent(jobs: list[Job], settle: float) -> list[Job]:
    """Leave out jobs whose input changed in the last `settle` seconds; addresses are kept."""
    now = time.time()
    return [job for job in jobs if not (path := Path(job.input)).exists() or now - path.stat().st_mtime > settle]
