"""Verbs that show what was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.options import AsJson, Panel, verb
from pipeline.files.visible import visible
from pipeline.reports.options import ReportOptions


@verb
def report(
    subject: Annotated[
        str,
        typer.Argument(
            help="A mask; or the ledger of an archive, the folder that holds it, or the address of its database."
        ),
    ],
    options: Annotated[ReportOptions, Panel("What it holds")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Page to write (.html). Default: <stem>_report.html beside it."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a mask or an archive in one HTML file that opens without a network.

    A map or slices, areas or volumes, confidence, and how it was made; of an archive, a table to review its items.
    """
    from pipeline.archive.place import DatabaseUrl, subject_of
    from pipeline.reports.report import write_report

    place = subject_of(subject)
    written = write_report(place, output, options)
    shown = str(place) if isinstance(place, DatabaseUrl) else subject
    typer.echo(json.dumps({"input": shown, "output": str(written)}) if as_json else visible(written))
