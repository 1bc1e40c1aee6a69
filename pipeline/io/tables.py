"""Tables of text: `.csv` with commas, `.tsv` with tabs."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import RequestError
from pipeline.files.atomic import atomic_write
from pipeline.files.signatures import stand_in

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula may begin with, also in full width."""


def read_rows(path: Path, option: str = "") -> list[dict[str, str]]:
    """Read the rows of a table, each by the names of its columns.

    Raises RequestError, which begins with the `option` that named the table, if it cannot be read.
    """
    if kind := stand_in(path):
        raise RequestError(f"{option}{path}: {kind}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [_texts(row) for row in csv.DictReader(file, delimiter=_delimiter(path))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{option}{path}: the table cannot be read ({error})") from error


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]], *, line_end: str = "\n") -> None:
    """Write a table under its name when it is whole; None becomes an empty cell. Raises OutputError.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    with atomic_write(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        how: dict[str, Any] = {"delimiter": _delimiter(path), "lineterminator": line_end}
        plain, quoted = csv.writer(file, **how), csv.writer(file, quoting=csv.QUOTE_ALL, **how)
        plain.writerow(columns)
        for row in rows:
            cells = [_cell(value) for value in row]
            (quoted if any("\r" in str(cell) for cell in cells) else plain).writerow(cells)


def _cell(value: object) -> object:
    """Return what is written for a value: numbers are no formulas, whatever they begin with."""
    return f"'{value}" if isinstance(value, (str, Path)) and _is_formula(str(value)) else value


def _texts(row: dict[str, str]) -> dict[str, str]:
    return {name: _text(cell) if isinstance(cell, str) else cell for name, cell in row.items()}


def _text(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _is_formula(cell[1:]) else cell


def _is_formula(text: str) -> bool:
    return text.lstrip("' ").startswith(_FORMULA)


def _delimiter(path: Path) -> str:
    return "\t" if path.suffix == ".tsv" else ","
