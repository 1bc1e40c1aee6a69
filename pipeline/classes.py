"""The class table: value, name and color of each class of a mask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from colorsys import hsv_to_rgb
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Concept:
    """A concept of SNOMED CT."""

    code: str
    """Its number, such as "64033007"."""
    meaning: str
    """Its name, such as "Kidney"."""


@dataclass(frozen=True)
class Snomed:
    """What a class is in the terms of SNOMED CT, as DICOM Segmentation and 3D Slicer name segments."""

    category: Concept
    type: Concept


TISSUE = Snomed(Concept("85756007", "Tissue"), Concept("85756007", "Tissue"))
"""What is said of a class without terms of its own."""


@dataclass(frozen=True)
class LabelClass:
    """One class of a mask."""

    value: int
    """Its value in the mask."""
    name: str
    color: tuple[int, int, int]
    """Red, green and blue, 0 to 255."""
    snomed: Snomed | None = None
    """What it is in the terms of SNOMED CT, where its model says so."""

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
    return [
        {
            "value": c.value,
            "name": c.name,
            "colour": list(c.color),
            **({} if c.snomed is None else {"snomed": asdict(c.snomed)}),
        }
        for c in classes
    ]


def class_table_of(rows: Iterable[Mapping[str, Any]]) -> ClassTable:
    """Return the class table from the JSON values of `rows_of`."""
    return tuple(LabelClass(row["value"], row["name"], tuple(row["colour"]), _snomed(row)) for row in rows)


def _snomed(row: Mapping[str, Any]) -> Snomed | None:
    said = row.get("snomed")
    return None if said is None else Snomed(Concept(**said["category"]), Concept(**said["type"]))
