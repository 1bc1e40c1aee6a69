"""The documents of the command, as the values that QGIS shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class MaskClass:
    """A class of a mask."""

    value: int
    name: str
    color: tuple[int, int, int]
    """Red, green and blue, 0 to 255."""


@dataclass(frozen=True)
class Model:
    """A model that the command knows."""

    name: str
    kind: str
    """scene or volume."""
    channels: tuple[str, ...]
    classes: tuple[str, ...]

    @property
    def label(self) -> str:
        """Its name, and what it tells apart."""
        return f"{self.name}: {', '.join(self.classes)}"


def classes_of(info: Mapping[str, Any]) -> list[MaskClass]:
    """Return the classes of a mask from the document of `pipeline info`; none if it is no mask."""
    rows = [row for item in info.get("items", []) for row in item.get("classes", [])]
    return [MaskClass(int(row["value"]), str(row["name"]), _color(row)) for row in rows]


def _color(row: Mapping[str, Any]) -> tuple[int, int, int]:
    red, green, blue = row.get("colour") or row.get("color") or (128, 128, 128)
    return int(red), int(green), int(blue)


def models_of(document: Mapping[str, Any]) -> list[Model]:
    """Return the models in the document of `pipeline models`."""
    return [
        Model(
            str(card["name"]),
            str(card.get("kind", "scene")),
            tuple(map(str, card.get("channels", []))),
            tuple(str(entry["name"]) for entry in card.get("classes", [])),
        )
        for card in document.get("items", [])
    ]


def scene_models(document: Mapping[str, Any]) -> list[Model]:
    """Return the models for scenes."""
    return [model for model in models_of(document) if model.kind == "scene"]


def layers_beside(mask: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the name and the path of each layer that is written beside a mask.

    >>> layers_beside("/a/b.tif", ["confidence"])
    [('confidence', '/a/b_confidence.tif')]
    """
    stem, dot, suffix = mask.rpartition(".")
    return [(name, f"{stem}_{name}{dot}{suffix}") for name in names]


PLAN_ROWS = {
    "model": "model",
    "channels": "channels",
    "shape": "rows, columns",
    "patch": "patch",
    "patches": "patches",
    "memory_bytes": "memory",
    "disk_bytes": "disk",
    "seconds": "time",
}
"""By key of a plan: its title."""


def plan_rows(item: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the title and the value of each line of a plan."""
    for key, title in PLAN_ROWS.items():
        if item.get(key) is not None:
            yield title, _plan_text(key, item[key])
    for warning in item.get("warnings", []):
        yield "note", str(warning.get("message", warning))


def _plan_text(key: str, value: Any) -> str:  # noqa: ANN401  (a JSON value)
    if key.endswith("_bytes"):
        return size_text(value)
    if key == "seconds":
        return f"{value:.0f} s"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def size_text(size: float) -> str:
    """Return bytes in words.

    >>> size_text(300 << 20), size_text(3 << 30)
    ('300 MiB', '3.0 GiB')
    """
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


FIGURES = ("iou", "dice", "precision", "recall", "boundary_f1")
"""Figures of a class of scenes."""


def class_figures(document: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Yield value, name, cells of the truth and of the prediction, and the figures of each class of an evaluation."""
    for entry in (document.get("overall") or {}).get("classes", []):
        figures = (_value(entry.get("figures", {}).get(name)) for name in FIGURES)
        yield [entry["value"], entry["name"], entry.get("truth_cells"), entry.get("predicted_cells"), *figures]


def overall_figures(document: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of all classes together that are defined."""
    found = (document.get("overall") or {}).get("figures", {})
    values = {name: _value(figure) for name, figure in found.items()}
    return {name: value for name, value in values.items() if value is not None}


def _value(figure: Any) -> float | None:  # noqa: ANN401  (a number, or a number with its interval)
    found = figure.get("value") if isinstance(figure, dict) else figure
    return None if found is None else float(found)
