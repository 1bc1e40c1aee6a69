"""The verb that runs a job file on a schedule."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from pipeline.archive.place import PLACE, DatabaseUrl, place_of
from pipeline.cli.options import HOW, AsJson, Panel, verb
from pipeline.decoding import Meaning
from pipeline.decoding.readers import DURATION
from pipeline.errors import RequestError
from pipeline.files.visible import visible
from pipeline.jobs.job import Resources


@dataclass(frozen=True)
class Timetable:
    """When a job file's inputs are looked for, and what each run may take."""

    every: Annotated[float | None, DURATION, Meaning("Polling interval, e.g. 30s, 15m, 6h or 1d.")] = None
    cron: Annotated[str | None, Meaning('Cron schedule instead of --every, e.g. "0 3 * * *".')] = None
    settle: Annotated[
        float, DURATION, Meaning("How long a file must not have changed before it is segmented.", unset="10s")
    ] = 10.0
    at_once: Annotated[int, Meaning("Items segmented at the same time.", name="concurrency")] = 1
    limit: Annotated[
        str | None,
        Meaning("Global concurrency limit of Prefect; each item takes one of its slots.", unset="none"),
    ] = None
    slots: Annotated[int, Meaning("Slots of that limit if it does not exist yet: it is created.")] = 1
    timeout: Annotated[
        float | None, DURATION, Meaning("Time limit for each attempt at an item, e.g. 2h.", unset="none")
    ] = None


def _said(ledger: str | None) -> str | None:
    """Return a ledger as the flow is told: Prefect stores its parameters."""
    place = None if ledger is None else place_of(ledger)
    if isinstance(place, DatabaseUrl) and place_of(str(place)) != place:
        raise RequestError(f"--ledger {place}: has a password, which Prefect would store; put it into PIPELINE_LEDGER")
    return None if place is None else str(place.absolute() if isinstance(place, Path) else place)


@verb
def schedule(
    config: Annotated[Path, typer.Option("--config", "-c", help="Job file (TOML) whose inputs are watched.")],
    timetable: Annotated[Timetable, Panel("When")],
    resources: Annotated[Resources, Panel(HOW, "workers", "memory", "device", "precision", "runtime")],
    name: Annotated[str | None, typer.Option(help="Name of the deployment. Default: that of the job file.")] = None,
    pool: Annotated[
        str | None, typer.Option(help="Work pool whose workers run it. Default: this process, until it is stopped.")
    ] = None,
    ledger: Annotated[
        str | None,
        typer.Option(
            metavar=PLACE.metavar,
            help="Ledger of the archive. Default: PIPELINE_LEDGER, or archive.sqlite with the masks.",
        ),
    ] = None,
    report: Annotated[
        bool, typer.Option(help="Write a page that shows the archive when there is something new.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Watch a job file's inputs and segment new ones on a schedule, with Prefect.

    Nothing is done twice, and a broken input fails once. See the flow `watch`.
    """
    from flows.item import Bounds
    from flows.schedule import Schedule, WatchParameters, apply_to_pool, create_deployment, serve_deployment

    bounds = Bounds(timetable.at_once, timetable.limit, timetable.timeout, timetable.slots)
    watching = WatchParameters(config, timetable.settle, resources, bounds, _said(ledger), report)
    when = Schedule(None if timetable.every is None else timedelta(seconds=timetable.every), timetable.cron)
    deployment = create_deployment(watching, when, name, pool)
    if pool is None:
        serve_deployment(deployment)
        return
    made = apply_to_pool(deployment)
    record = {"deployment": made, "pool": pool}
    typer.echo(json.dumps(record) if as_json else visible(f"{made}: run it with `prefect worker start --pool {pool}`"))
