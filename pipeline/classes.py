"""The class table: value, name and color of each class of a mask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from colorsys import hsv_to_rgb
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LabelClass:
    """One class of a mask."""

    value: int
    """Its value in the mask."""
    name: str
    color: tuple[int, int, int]
    """Red, green and blue, 0 to 255."""

    @property
    def is_background(self) -> bool:
        """Whether the class is named background."""
        return self.name.lower() == "background"


def hex_color(color: Iterable[int]) -> str:
    """Return red, green and blue in the notation of HTML, `#rrggbb`.

    >>> hex_color((255, 128, 0))
    '#ff8000'
    """
    return "#{:02x}{:02x}{:02x}".format(*color)


def hue_color(turns: float, saturation: float, value: float) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of a hue in turns of the color wheel."""
    red, green, blue = hsv_to_rgb(turns % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


ClassTable = tuple[LabelClass, ...]


def background_of(classes: ClassTable) -> int | None:
    """Return the value of the first class named background, or None."""
    return next((entry.value for entry in classes if entry.is_background), None)


def rows_of(classes: ClassTable) -> list[dict[str, Any]]:
    """Return the class table as JSON values, one object per class."""
    return [{"value": c.value, "name": c.name, "colour": list(c.color)} for c in classes]


def class_table_of(rows: Iterable[Mapping[str, Any]]) -> ClassTable:
    """Return the class table from the JSON values of `rows_of`."""
    return tuple(LabelClass(row["value"], row["name"], tuple(row["colour"])) for row in rows)
