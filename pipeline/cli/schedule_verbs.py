"""The verb that has a job done again and again."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import errors
from pipeline.cli.options import AsJson, Device, Memory, Precision, Runtime, Workers
from pipeline.cli.parsing import duration, positive, size_in_bytes


def schedule(
    config: Annotated[Path, typer.Option("--config", "-c", help="Job file (TOML) that says where to look.")],
    every: Annotated[str | None, typer.Option(help="Time between two looks, as in 30s, 15m, 6h or 1d.")] = None,
    cron: Annotated[str | None, typer.Option(help='Times of looks, as in "0 3 * * *", instead of --every.')] = None,
    name: Annotated[str | None, typer.Option(help="Name of the deployment. Default: that of the job file.")] = None,
    pool: Annotated[
        str | None, typer.Option(help="Work pool whose workers do it. Default: this process, until it is stopped.")
    ] = None,
    settle: Annotated[str, typer.Option(help="Time for which a file must not have changed.")] = "10s",
    at_once: Annotated[int, typer.Option(help="Items that are segmented at a time.")] = 1,
    limit: Annotated[
        str | None, typer.Option(help="Global concurrency limit of Prefect of which each item takes a slot.")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(help="Time for each try of an item. Default: as long as it takes.")
    ] = None,
    workers: Workers = None,
    memory: Memory = None,
    device: Device = None,
    precision: Precision = None,
    runtime: Runtime = None,
    as_json: AsJson = False,
) -> None:
    """Segment what is new where a job file looks, by the clock, with Prefect.

    Nothing is done twice, and a broken input fails once. See the flow `watch`.
    """
    from pipeline.jobs.job import Means

    with errors():
        from flows.item import Bounds
        from flows.schedule import Watching, When, deployment_of, leave_to, serve_here

        means = Means(
            workers=positive("--workers", workers),
            memory=size_in_bytes(memory),
            device=device,
            precision=precision,
            runtime=runtime,
        )
        bounds = Bounds(at_once, limit, duration("--timeout", timeout))
        watching = Watching(config, duration("--settle", settle) or 0.0, means, bounds)
        seconds = duration("--every", every)
        when = When(None if seconds is None else timedelta(seconds=seconds), cron)
        deployment = deployment_of(watching, when, name, pool)
        if pool is None:
            serve_here(deployment)
            return
        made = leave_to(deployment)
        record = {"deployment": made, "pool": pool}
        typer.echo(json.dumps(record) if as_json else f"{made}: `prefect worker start --pool {pool}` does it")
