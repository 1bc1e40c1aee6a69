"""Verbs that segment, or show what that would take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.archive.place import PLACE, Opened, Place
from pipeline.cli.app import SOME_FAILED, print_error
from pipeline.cli.options import HOW, WHAT, AsJson, Following, Panel, verb
from pipeline.decoding import Meaning
from pipeline.errors import InputError, RequestError
from pipeline.files.visible import visible
from pipeline.jobs.job import Resources
from pipeline.jobs.request import Request

if TYPE_CHECKING:
    from pipeline.jobs.job import Job
    from pipeline.runs.plan import Plan
    from pipeline.runs.report import Report

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="Job file (TOML); command-line options override it.")
]


@dataclass(frozen=True)
class ArchiveOptions:
    """How an archive is run."""

    ledger: Annotated[
        Place | None,
        PLACE,
        Meaning(
            "Ledger of an archive: an SQLite file, or a PostgreSQL database that several machines share.",
            unset="PIPELINE_LEDGER, or else archive.sqlite with the masks, if there are several inputs",
        ),
    ] = None
    verify: Annotated[bool, Meaning("Compare the bytes of finished masks, not only their size and time.")] = False
    wait: Annotated[float, Meaning("Seconds to wait at the end for items that other runs are working on.")] = 30.0


@dataclass(frozen=True)
class DisplayOptions:
    """How a run is shown."""

    hash_names: Annotated[bool, Meaning("Show SHA-256 prefixes instead of file names, also in --json.")] = False
    report: Annotated[
        bool, Meaning("Write a page that shows the mask, or the archive, beside it, as `pipeline report` does.")
    ] = False


@verb
def run(
    request: Annotated[Request, Panel(WHAT)],
    resources: Annotated[Resources, Panel(HOW)],
    archives: Annotated[ArchiveOptions, Panel("Archives: several inputs, with a ledger of what is done")],
    display: Annotated[DisplayOptions, Panel("What is shown")],
    following: Annotated[Following, Panel(None)],
    config: Config = None,
    prefect: Annotated[
        bool | None,
        typer.Option("--prefect/--no-prefect", help="Run as a Prefect flow. Default: if a server is configured."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Segment scenes and volumes into masks with exactly their geometry.

    A stopped or crashed run continues where it was when the same command is given again.
    """
    from pipeline.jobs.inputs import jobs_of
    from pipeline.jobs.job_file import load_request
    from pipeline.runs.fork_server import expect_workers

    hash_names = display.hash_names
    _check_names(prefect, hash_names=hash_names)
    request = load_request(config, request)
    jobs = jobs_of(request, (lambda line: None) if hash_names else _tell)
    expect_workers(jobs, resources)

    from pipeline.archive.archive import open_archive
    from pipeline.archive.pseudonyms import without_names
    from pipeline.archive.run import segment_all
    from pipeline.cli.screen import Screen, print_reports
    from pipeline.doctor.profile import configured_server
    from pipeline.runs.observer import RunContext

    ledger = _ledger_of(request, jobs, archives)
    shown = _Shown(jobs[0], _opened(ledger), hash_names, resources.overwrite) if display.report else None
    if prefect or (prefect is None and not hash_names and configured_server() is not None):
        reports = _run_as_flow(jobs, resources, ledger, archives, report=display.report)
    else:
        quiet = following.quiet or (as_json and not following.as_json)
        screen = Screen(quiet=quiet, stop_on_signals=True, hash_names=hash_names, as_json=following.as_json)
        with screen, open_archive(ledger, verify=archives.verify, wait=archives.wait) as archive:
            reports = segment_all(jobs, RunContext(resources, screen), archive)
    print_reports(list(map(without_names, reports)) if hash_names else reports, as_json=as_json)
    if shown is not None:
        shown.write(reports[0])
    if any(each.missing for each in reports):
        raise typer.Exit(SOME_FAILED)


def _check_names(prefect: bool | None, *, hash_names: bool) -> None:
    if hash_names and prefect:
        raise RequestError("--hash-names: Prefect stores the names of its items; run with --no-prefect")


@dataclass(frozen=True)
class _Shown:
    """The page of a run.

    Raises:
        RequestError: If names are to be hashed, but it is the page of one mask.
        OutputError: If it would replace a file that is no report.

    """

    job: Job
    ledger: Opened | None
    hash_names: bool
    overwrite: bool

    def __post_init__(self) -> None:
        from pipeline.reports.report import check_report_of_run

        if self.hash_names and self.ledger is None:
            raise RequestError("--report: the page of one mask shows names and headers; leave out --hash-names")
        check_report_of_run(self.job, self.ledger, overwrite=self.overwrite)

    def write(self, made: Report) -> None:
        """Write the page and print its path."""
        from pipeline.reports.report import report_run

        how = {"hash_names": self.hash_names, "overwrite": self.overwrite}
        written = report_run(self.job, made, self.ledger, **how)
        if written is not None:
            _tell(f"report: {visible(written.name if self.hash_names else written)}")


@verb
def plan(
    request: Annotated[Request, Panel(WHAT)],
    resources: Annotated[Resources, Panel(HOW, "workers", "memory", "rows", "device", "precision", "runtime")],
    config: Config = None,
    probe: Annotated[bool, typer.Option(help="Time the network on two random patches.")] = True,
    price: Annotated[
        str | None,
        typer.Option(
            metavar="<price>",
            help="Price of an hour of this machine, to show the cost: 2.50, or with a currency: 2.50 EUR.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show patches, slabs, memory, disk, time and cost of a run, reading headers and a sample of values."""
    from pipeline.cli.plan_tables import print_plans
    from pipeline.jobs.inputs import jobs_of
    from pipeline.jobs.job_file import load_request
    from pipeline.jobs.outputs import find_clashes
    from pipeline.runs.plan import parse_price, total_of
    from pipeline.runs.plan import plan as plan_job

    priced = None if price is None else parse_price(price)
    if priced is not None and not probe:
        raise RequestError(
            "--price: the cost is that of the time, which --no-probe does not measure; give one of the two"
        )
    plans: list[Plan] = []
    jobs = jobs_of(load_request(config, request), _tell)
    clashes = find_clashes(jobs)
    failed = list(clashes.values())
    for job in jobs:
        try:
            if job not in clashes:
                plans.append(plan_job(job, resources, probe=probe))
        except InputError as error:
            failed.append(str(error))
    print_plans(plans, total_of(plans), priced, as_json=as_json)
    for reason in failed:
        print_error(reason)
    if failed:
        raise typer.Exit(SOME_FAILED)


def _tell(line: str) -> None:
    typer.echo(line, err=True)


def _ledger_of(request: Request, jobs: Sequence[Job], archives: ArchiveOptions) -> Place | None:
    """Return where the ledger is, by default beside the masks if there are several inputs."""
    from pipeline.archive.place import default_place, ledger_of
    from pipeline.jobs.outputs import folder_of

    if len(jobs) > 1:
        return ledger_of(archives.ledger, folder_of(request, jobs))
    if (only := archives.ledger or default_place()) is None and archives.verify:
        raise RequestError("--verify: compares with a ledger, which one input has only with --ledger FILE.sqlite")
    return only


def _opened(ledger: Place | None) -> Opened | None:
    """Return where a ledger is opened."""
    from pipeline.archive.copied_ledger import ledger_here

    return None if ledger is None else ledger_here(ledger)


def _run_as_flow(
    jobs: Sequence[Job], resources: Resources, ledger: Place | None, archives: ArchiveOptions, *, report: bool
) -> list[Report]:
    from flows.segment import run_flow
    from pipeline.cli.screen import print_failure, print_warnings

    reports: list[Report] = run_flow(jobs, resources, ledger, verify=archives.verify, wait=archives.wait, report=report)
    for each in reports:
        print_failure(each)
        print_warnings(each)
    return reports
