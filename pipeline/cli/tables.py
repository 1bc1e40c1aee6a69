"""Print results on stdout: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.classes import hex_color
from pipeline.files.visible import visible, visible_lines

_WHOLE = 1000
"""Columns of a line that is not for a screen."""

_OF_SCENES = {
    "iou": "IoU",
    "dice": "Dice",
    "precision": "precision",
    "recall": "recall",
    "boundary_f1": "boundary F1",
}

_OF_VOLUMES = {
    "case_dice": "Dice",
    "hd95_mm": "HD95 mm",
    "assd_mm": "ASSD mm",
    "maximum_distance_mm": "maximum mm",
    "surface_dice": "surface Dice",
    "volume_error": "volume error",
    "iou": "IoU",
}
"""By kind: the figures of an evaluation that are shown, and their titles."""

_SUFFIXES = 8
"""Suffixes of a format that are listed."""
ONE_SIDED = "of these in one only"

_COUNTS = {
    "patches",
    "memory",
    "disk",
    "options",
    "time",
    "cost",
    "cells",
    "area",
    "area, square meters",
    "area, pixels",
    "share",
    "Mpx",
    "s",
    "Mpx/s",
    "items",
    ONE_SIDED,
}

_NUMBERS = {"accuracy", *_COUNTS, *_OF_SCENES.values(), *_OF_VOLUMES.values()}
"""Columns aligned to the right."""


def titles_of(kind: str) -> Mapping[str, str]:
    """Return the figures of an evaluation that are shown of scenes or volumes, with their titles."""
    return _OF_VOLUMES if kind == "volume" else _OF_SCENES


def print_schema(schema: Mapping[str, Any]) -> None:
    """Print the verbs, models and formats of a schema as tables."""
    verbs = table_of("verb", "options", "what it does")
    for one in schema["verbs"]:
        verbs.add_row(one["name"], str(len(one["options"])), one["help"].partition("\n")[0])
    models = table_of("model", "for", "classes")
    for one in schema["models"]:
        models.add_row(one["name"], one["kind"] + "s", ", ".join(entry["name"] for entry in one["classes"]))
    formats = table_of("format", "read", "masks")
    for one in schema["formats"]:
        formats.add_row(one["name"], _suffixes(one), " ".join(one["written"]))
    for table in (verbs, models, formats):
        print_table(table)


def _suffixes(one: Mapping[str, Any]) -> str:
    """Return what is read of a format: its folders, and the first of its suffixes."""
    read, folders = one["read"], ["folder", "zip"] if one["folders"] else []
    more = f"and {len(read) - _SUFFIXES} more" if len(read) > _SUFFIXES else ""
    return " ".join([*folders, *read[:_SUFFIXES], *filter(None, [more])])


def print_records(records: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print records as tables of two columns, or `{"items": [...]}`."""
    if as_json:
        print_json({"items": records})
        return
    for record in records:
        table = table_of("", "")
        table.show_header = False
        for key, value in record.items():
            table.add_row(key.replace("_", " "), Text(_WORDS.get(key, _plain)(value)))
        print_table(table)


class TextTable(Table):
    """A table whose cells are shown as they are: nothing in them is markup, or obeyed by a screen."""

    def add_row(self, *cells: RenderableType | None, **how: Any) -> None:  # noqa: ANN401  (rich's)
        """Add a row; a cell of several lines is a `Text`."""
        super().add_row(*(Text(visible(cell)) if isinstance(cell, str) else cell for cell in cells), **how)


def table_of(*columns: str) -> TextTable:
    """Return an empty table with these columns; numbers are aligned to the right."""
    table = TextTable(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in _NUMBERS else "left")
    return table


def print_table(table: TextTable) -> None:
    """Print a table on stdout: folded to a terminal; for a program, lines are left whole and end with their text."""
    if sys.stdout.isatty():
        Console(highlight=False).print(table)
        return
    console = Console(highlight=False, width=_WHOLE)
    with console.capture() as captured:
        console.print(table)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def fits(table: TextTable) -> bool:
    """Return whether a table is printed without folding its cells."""
    return not sys.stdout.isatty() or Console(width=_WHOLE).measure(table).maximum <= Console().width


def shared_folder(paths: Sequence[str]) -> str:
    """Return the folder that all paths share, with the slash at its end; empty: there is none.

    >>> shared_folder(["a/b/1.tif", "a/c/2.tif"]), shared_folder(["a/1", "/a/2"]), shared_folder(["s3://x/a", "s3://x/b"])
    ('a/', '', 's3://x/')
    """
    parts = zip(*(text.split("/")[:-1] for text in paths), strict=False)
    shared = [same[0] for same in takewhile(lambda same: len(set(same)) == 1, parts)]
    return "".join(f"{part}/" for part in shared) if any(shared) else ""


def print_json(value: object) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def _plain(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return (", " if any(isinstance(part, str) for part in value) else " x ").join(map(visible, value))
    return "" if value is None else visible(value)


def _classes(rows: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(f"{row['value']} {visible(row['name'])} {hex_color(row['colour'])}" for row in rows)


def _lines(texts: Sequence[str]) -> str:
    return "\n".join(map(visible, texts))


def _warnings(remarks: Sequence[Mapping[str, str]]) -> str:
    return _lines([f"{remark['message']} ({remark['rule']})" for remark in remarks])


def _affine(rows: Sequence[Sequence[float]]) -> str:
    words = [[f"{value:.10g}" for value in row] for row in rows]
    width = max(len(word) for row in words for word in row)
    return "\n".join("  ".join(word.rjust(width) for word in row) for row in words)


def flat_lines(record: Mapping[str, Any]) -> str:
    """Return nested values as lines of text, without what is empty."""
    from pipeline.engine.ledger import flat

    return "\n".join(
        f"{visible(key)}: {_plain(value)}" for key, value in flat(record).items() if value not in (None, [], ())
    )


def _crs(wkt: str | None) -> str:
    """Return the first name in WKT."""
    return visible(wkt.split('"')[1]) if wkt and '"' in wkt else _plain(wkt)


_WORDS: dict[str, Callable[[Any], str]] = {
    "classes": _classes,
    "affine": _affine,
    "made": flat_lines,
    "crs": _crs,
    "warnings": _warnings,
    "concluded": _lines,
    "limits": _lines,
    "figures": visible_lines,
    "training": visible_lines,
    "trained on": visible_lines,
    "told": _lines,
}
"""By key: how its value is shown, where `_plain` is not enough."""
