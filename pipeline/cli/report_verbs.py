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
    subject: Annotated[str, typer.Argument(metavar="MASK", help="A mask of a scene.")],
    options: Annotated[ReportOptions, Panel("What it holds")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Page to write (.html). Default: <stem>_report.html beside the mask."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a mask in one HTML file: a map, areas, confidence, and how it was made; it opens without a network."""
    from pipeline.reports.report import write_report

    written = write_report(subject, output, options)
    typer.echo(json.dumps({"input": subject, "output": str(written)}) if as_json else visible(written))
