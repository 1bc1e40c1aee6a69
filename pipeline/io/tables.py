"""Tables of text: `.csv` with commas, `.tsv` with tabs."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.errors import RequestError
from pipeline.files.atomic import atomic_write
from pipeline.files.signatures import stand_in


def read_rows(path: Path, option: str = "") -> list[dict[str, str]]:
    """Read the rows of a table, each by the names of its columns.

    Raises RequestError, which begins with the `option` that named the table, if it cannot be read.
    """
    if kind := stand_in(path):
        raise RequestError(f"{option}{path}: {kind}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file, delimiter=_delimiter(path)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{option}{path}: the table cannot be read ({error})") from error


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]], *, line_end: str = "\n") -> None:
    """Write a table under its name when it is whole; None becomes an empty cell. Raises OutputError."""
    with atomic_write(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter=_delimiter(path), lineterminator=line_end)
        table.writerow(columns)
        table.writerows(rows)


def _delimiter(path: Path) -> str:
    return "\t" if path.suffix == ".tsv" else ","
