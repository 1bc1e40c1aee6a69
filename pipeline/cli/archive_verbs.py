"""Verbs about the ledgers of archives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import errors
from pipeline.cli.options import AsJson

Ledger = Annotated[Path, typer.Argument(help="The ledger, or the folder of the masks that it lies in.")]


def status(ledger: Ledger = Path(), as_json: AsJson = False) -> None:
    """Tell what of an archive is done, what failed and why, how fast it goes and how long the rest will take."""
    from pipeline.archive.status import find_ledger, status_of
    from pipeline.cli.tables import print_status

    with errors():
        print_status(status_of(find_ledger(ledger)), as_json=as_json)


def retry(
    ledger: Ledger = Path(),
    reason: Annotated[
        list[str] | None, typer.Option(help="Kind of reason, as `status` shows it; may be given again. Default: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Have failed and quarantined items of an archive tried again by the next run."""
    from pipeline.archive.status import find_ledger

    with errors():
        found = find_ledger(ledger)
        released = found.release(reason or [])
        record = {"ledger": str(found.path), "pending": released}
        line = f"pending: {released} of {len(found.rows())} items; run the same command again"
        typer.echo(json.dumps(record) if as_json else line)
