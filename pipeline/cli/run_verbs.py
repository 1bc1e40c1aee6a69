"""Verbs that segment, or tell what that would take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.app import SOME_FAILED, errors
from pipeline.cli.options import (
    Affine,
    Also,
    Aoi,
    AsJson,
    Asset,
    Band,
    Bands,
    Bids,
    Config,
    Crs,
    Device,
    Input,
    KeepHeaderText,
    Like,
    Memory,
    Model,
    Offset,
    Output,
    Overlap,
    Overwrite,
    Patch,
    Precision,
    Quiet,
    Resolution,
    Runtime,
    Scale,
    Series,
    Tta,
    View,
    Volume,
    Window,
    Workers,
)
from pipeline.cli.parsing import positive, size_in_bytes
from pipeline.cli.requests import request_of
from pipeline.errors import InputError, PipelineError, RequestError

if TYPE_CHECKING:
    from pipeline.jobs.job import Job


def run(
    input_: Input = None,
    output: Output = None,
    model: Model = None,
    config: Config = None,
    bands: Bands = None,
    scale: Scale = None,
    offset: Offset = None,
    series: Series = None,
    bids: Bids = None,
    patch: Patch = None,
    overlap: Overlap = None,
    window: Window = None,
    view: View = None,
    tta: Tta = None,
    aoi: Aoi = None,
    also: Also = None,
    affine: Affine = None,
    volume: Volume = None,
    keep_header_text: KeepHeaderText = None,
    like: Like = None,
    resolution: Resolution = None,
    crs: Crs = None,
    asset: Asset = None,
    workers: Workers = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Dask scheduler, as in tcp://host:8786; its file (.json), or a cluster's (.toml)."),
    ] = None,
    memory: Memory = None,
    band: Band = None,
    device: Device = None,
    precision: Precision = None,
    runtime: Runtime = None,
    overwrite: Overwrite = False,
    ledger: Annotated[
        Path | None, typer.Option(help="Ledger of an archive (.sqlite). Default: with the masks, for several inputs.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Forget a run that was begun, and begin anew.")] = False,
    hash_names: Annotated[
        bool, typer.Option("--hash-names", help="Tell digits of SHA-256 instead of the names of files.")
    ] = False,
    prefect: Annotated[
        bool | None,
        typer.Option("--prefect/--no-prefect", help="Run as a Prefect flow. Default: where a server is set up."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Segment scenes and volumes into masks of exactly their geometry.

    A stopped or crashed run goes on where it was when the same command is given again.
    """
    options = locals()
    from pipeline.archive.archive import archive_at
    from pipeline.archive.ledger import NAME
    from pipeline.archive.run import segment_all
    from pipeline.cli.pseudonyms import without_names
    from pipeline.cli.screen import Screen, print_failure, print_reports
    from pipeline.jobs.inputs import folder_of, jobs_of
    from pipeline.jobs.job import Means
    from pipeline.runs.observer import RunContext

    with errors():
        said = request_of(config, options)
        jobs = jobs_of(said)
        if ledger is None and len(jobs) > 1:
            ledger = folder_of(said, jobs) / NAME
        means = Means(
            workers=positive("--workers", workers),
            scheduler=scheduler,
            memory=size_in_bytes(memory),
            rows=positive("--band", band),
            device=device,
            precision=precision,
            runtime=runtime,
            overwrite=overwrite,
            restart=restart,
        )
        if hash_names and prefect:
            raise RequestError("--hash-names: Prefect keeps the names of its items; run with --no-prefect")
        if prefect or (prefect is None and not hash_names and _server_is_set_up()):
            reports = _run_as_flow(jobs, means, ledger)
            for report in reports:
                print_failure(report)
        else:
            screen = Screen(quiet=quiet or as_json, stop_on_signals=True, hash_names=hash_names)
            with screen, archive_at(ledger) as archive:
                reports = segment_all(jobs, RunContext(means, screen), archive)
        print_reports([without_names(report) for report in reports] if hash_names else reports, as_json=as_json)
        if any(report.status == "failed" for report in reports):
            raise typer.Exit(SOME_FAILED)


def plan(
    input_: Input = None,
    output: Output = None,
    model: Model = None,
    config: Config = None,
    bands: Bands = None,
    scale: Scale = None,
    offset: Offset = None,
    series: Series = None,
    bids: Bids = None,
    patch: Patch = None,
    overlap: Overlap = None,
    window: Window = None,
    view: View = None,
    tta: Tta = None,
    aoi: Aoi = None,
    also: Also = None,
    affine: Affine = None,
    volume: Volume = None,
    keep_header_text: KeepHeaderText = None,
    like: Like = None,
    resolution: Resolution = None,
    crs: Crs = None,
    asset: Asset = None,
    workers: Workers = None,
    memory: Memory = None,
    band: Band = None,
    device: Device = None,
    precision: Precision = None,
    runtime: Runtime = None,
    probe: Annotated[bool, typer.Option(help="Try the network on two patches of noise to tell the time.")] = True,
    as_json: AsJson = False,
) -> None:
    """Tell patches, bands, memory, disk and time of a run without reading a pixel."""
    options = locals()
    from pipeline.cli.tables import print_plans
    from pipeline.jobs.inputs import jobs_of
    from pipeline.jobs.job import Means
    from pipeline.runs.plan import plan as plan_job

    with errors():
        said = request_of(config, options)
        means = Means(
            workers=positive("--workers", workers),
            memory=size_in_bytes(memory),
            rows=positive("--band", band),
            device=device,
            precision=precision,
            runtime=runtime,
        )
        plans, failed = [], []
        for job in jobs_of(said):
            try:
                plans.append(plan_job(job, means, probe=probe))
            except InputError as error:
                failed.append(str(error))
        print_plans(plans, as_json=as_json)
        if failed:
            raise PipelineError("\nerror: ".join(failed))


def _run_as_flow(jobs: list[Job], means: Any, ledger: Path | None) -> Any:  # noqa: ANN401  (typed where it is used)
    from flows.segment import run_flow

    return run_flow(jobs, means, ledger)


def _server_is_set_up() -> bool:
    """Whether Prefect is told of a server, by the environment or by its active profile."""
    if "PREFECT_API_URL" in os.environ:
        return bool(os.environ["PREFECT_API_URL"])
    import tomllib

    home = Path(os.environ.get("PREFECT_HOME", Path.home() / ".prefect"))
    try:
        profiles = tomllib.loads((home / "profiles.toml").read_text(encoding="utf-8"))
        active = os.environ.get("PREFECT_PROFILE", profiles.get("active", ""))
        return bool(profiles["profiles"][active].get("PREFECT_API_URL"))
    except (OSError, KeyError, AttributeError, TypeError, ValueError):
        return False
