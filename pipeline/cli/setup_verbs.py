"""Verbs for programs that call it."""

from __future__ import annotations

from pipeline.cli.app import app
from pipeline.cli.options import AsJson, verb


@verb
def schema(as_json: AsJson = False) -> None:
    """Show all verbs, options, models and formats; with --json as one document, to build other programs on."""
    from pipeline.cli.schema import schema as schema_of
    from pipeline.cli.tables import print_json, print_schema

    (print_json if as_json else print_schema)(schema_of(app))
