"""The table of classes: what the integers of a mask mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LabelClass:
    """One class of a mask."""

    value: int
    """The integer that stands in the mask."""
    name: str
    colour: tuple[int, int, int]
    """Red, green and blue, 0 to 255."""


ClassTable = tuple[LabelClass, ...]


def rows_of(classes: ClassTable) -> list[dict[str, Any]]:
    """The table as JSON values."""
    return [{"value": c.value, "name": c.name, "colour": list(c.colour)} for c in classes]


def table_of(rows: Iterable[Mapping[str, Any]]) -> ClassTable:
    """The table that `rows_of` made JSON of."""
    return tuple(LabelClass(row["value"], row["name"], tuple(row["colour"])) for row in rows)
