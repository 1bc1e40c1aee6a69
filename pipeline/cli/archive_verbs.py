"""Verbs for the ledgers of archives."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.app import SOME_FAILED
from pipeline.cli.options import AsJson, verb
from pipeline.errors import RequestError, counted

if TYPE_CHECKING:
    from pipeline.archive.ledger import ArchiveLedger
    from pipeline.archive.place import Place
    from pipeline.archive.review import ReviewStatus

Table = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Table of reviews (.csv, .tsv), as the page of `pipeline report` exports it."),
]
Ledger = Annotated[
    str | None,
    typer.Argument(
        help="The ledger, or the folder or prefix of masks that it belongs to, or the address of its database. "
        "Default: PIPELINE_LEDGER, or the current folder."
    ),
]


def _place(said: str | None) -> Place:
    """Return the ledger that is named, or else that of the environment or in the current folder."""
    from pipeline.archive.place import default_place, place_of

    return (default_place() or Path()) if said is None else place_of(said)


@verb
def status(ledger: Ledger = None, table: Table = None, as_json: AsJson = False) -> None:
    """Show an archive's progress: done, failed (with reasons), throughput, time left."""
    from pipeline.archive.status import find_ledger, status_of
    from pipeline.cli.archive_tables import print_status

    with closing(find_ledger(_place(ledger))) as found:
        review = None if table is None else _reviewed(found, table)
        told = status_of(found)
    print_status(told, review, as_json=as_json)


def _reviewed(ledger: ArchiveLedger, table: Path) -> ReviewStatus:
    from pipeline.archive.review import read_reviews, review_status

    return review_status(ledger, read_reviews(table, ledger))


@verb
def verify(
    places: Annotated[
        list[str] | None,
        typer.Argument(
            help="Masks, ledgers, folders of masks that hold one, or addresses of databases. Default: PIPELINE_LEDGER, "
            "or the current folder."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify that finished masks have the bytes that were written; the next run makes others again.

    A mask that no ledger knows is read from end to end.
    """
    from pipeline.archive.place import subject_of
    from pipeline.archive.verify import verify as verdicts_of
    from pipeline.cli.archive_tables import print_verdicts

    found = verdicts_of([subject_of(place) for place in places] if places else [_place(None)])
    print_verdicts(found, as_json=as_json)
    if not all(verdict.is_good for verdict in found):
        raise typer.Exit(SOME_FAILED)


@verb
def retry(
    ledger: Ledger = None,
    reason: Annotated[
        list[str] | None,
        typer.Option(help="Kind of failure, as shown by `status`; may be repeated. Default: all kinds."),
    ] = None,
    table: Table = None,
    as_json: AsJson = False,
) -> None:
    """Queue failed and quarantined items for the next run; with --table, those that failed a review instead."""
    from pipeline.archive.retry import release, release_reviewed
    from pipeline.archive.status import changing_ledger

    if table is not None and reason:
        raise RequestError("--table names the items to queue; it cannot be used with --reason")
    with changing_ledger(_place(ledger)) as found:
        released = release(found, reason or []) if table is None else release_reviewed(found, table)
        items = sum(group.items for group in found.counts())
    record = {"ledger": str(found.place), "pending": released}
    line = f"pending: {released} of {counted(items, 'item')}; run the same command again"
    typer.echo(json.dumps(record) if as_json else line)
