"""Verbs for whoever has just installed it, and for programs that call it."""

from __future__ import annotations

import typer

from pipeline.cli.app import SOME_FAILED, app
from pipeline.cli.options import AsJson, verb


@verb
def doctor(as_json: AsJson = False) -> None:
    """Show versions, device, speed, formats, disk and server, what is wrong with them, and what to do about it.

    Ends with 1 if anything is broken. It has nothing in it that is secret: paste it into a report of a fault.
    """
    from pipeline.cli.doctor_lines import print_examination

    if print_examination(as_json=as_json).state == "broken":
        raise typer.Exit(SOME_FAILED)


@verb
def schema(as_json: AsJson = False) -> None:
    """Show all verbs, options, models and formats; with --json as one document, to build other programs on."""
    from pipeline.cli.schema import schema as schema_of
    from pipeline.cli.tables import print_json, print_schema

    (print_json if as_json else print_schema)(schema_of(app))
