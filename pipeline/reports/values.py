"""What pages of masks say, as frozen values: classes, histograms, comparisons, facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from pipeline.classes import ClassTable, hex_color
from pipeline.evaluation.labels import unnamed_color
from pipeline.evaluation.result import Evaluation, Overall
from pipeline.geometry import Box
from pipeline.jobs.layers import DISAGREEMENT

RANGES = {"confidence": (0.0, 1.0), DISAGREEMENT: (0.0, 0.71)}
"""Layers of shares that are shown, and the values at the ends of their color scales."""
_BINS = 20


@dataclass(frozen=True)
class ClassRow:
    """A class of a mask, and how much there is of it."""

    value: int
    name: str
    color: str
    """In the notation of HTML."""
    cells: int
    amount: float
    """In the unit of the page."""
    share: float | None
    """Share of all that is compared, 0 to 1; None: it is no part of that."""
    remark: str = ""

    @property
    def label(self) -> str:
        """Its value and its name; the value alone if it has no other name."""
        return self.name if self.name == str(self.value) else f"{self.value} {self.name}"


@dataclass(frozen=True)
class Histogram:
    """How often values occur."""

    title: str
    low: float
    high: float
    shares: tuple[float, ...]
    """Share of the cells in each of equal bins from `low` to `high`."""
    mean: float

    @property
    def top(self) -> float:
        """The largest share."""
        return max(self.shares)


@dataclass(frozen=True)
class Comparison:
    """A mask against its truth."""

    truth: str
    accuracy: float
    mean_iou: float | None
    counted: int
    missed: int
    figures: tuple[str, ...]
    """Titles of the figures of each class."""
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    """Name of each class, and its figures."""
    columns: tuple[str, ...]
    """Names of what was predicted."""
    matrix: tuple[tuple[int, ...], ...]
    """Cells by class of the truth, and of the prediction."""


Facts = tuple[tuple[str, str], ...]
"""Names and texts."""


@dataclass(frozen=True)
class Places:
    """Where patches failed."""

    axes: tuple[str, ...]
    """Names of the axes of a grid, as a page calls them."""
    ranges: tuple[tuple[str, ...], ...]
    """Of each patch, the first and the last cell along each of them."""


def places_of(boxes: Sequence[Box], axes: tuple[str, ...]) -> Places | None:
    """Return where patches failed, as a page tells it; None without any."""
    ends = (zip(box.start, box.stop, strict=True) for box in boxes)
    ranges = tuple(tuple(f"{start:,} to {stop - 1:,}" for start, stop in spans) for spans in ends)
    return Places(axes, ranges) if ranges else None


_OF_SCENES = {"iou": "IoU", "precision": "precision", "recall": "recall", "boundary_f1": "boundary F1"}
_OF_VOLUMES = {"case_dice": "Dice", "iou": "IoU", "hd95_mm": "HD95, mm", "surface_dice": "surface Dice"}


def colors_of(values: Sequence[int], classes: ClassTable) -> dict[int, str]:
    """Return a color for each value: its class's own, or one that no other value here has."""
    known = {entry.value: hex_color(entry.color) for entry in classes}
    return {value: known.get(value) or hex_color(unnamed_color(number)) for number, value in enumerate(values)}


def histogram(title: str, values: NDArray[np.generic], low: float, high: float) -> Histogram | None:
    """Return the histogram of values, those beyond the ends in the outer bins; None without any."""
    if not values.size:
        return None
    counts, _ = np.histogram(np.clip(values, low, high), _BINS, (low, high))
    return Histogram(title, low, high, tuple((counts / values.size).tolist()), float(values.mean(dtype=np.float64)))


def comparison(evaluation: Evaluation, truth: str) -> Comparison:
    """Return what a page says of a mask and its truth."""
    overall = evaluation.overall
    shown = {key: title for key, title in _figures(overall).items() if key in overall.classes[0].figures}
    matrix = overall.confusion
    missed = any(row[-1] for row in matrix)
    names = [entry.name for entry in overall.classes]
    return Comparison(
        truth=truth,
        accuracy=overall.figures["accuracy"].value or 0.0,
        mean_iou=overall.figures["mean_iou"].value,
        counted=overall.counted,
        missed=overall.missed,
        figures=tuple(shown.values()),
        rows=tuple(
            (entry.name, tuple(entry.figures[key].value for key in shown))
            for entry in overall.classes
            if entry.truth_cells or entry.predicted_cells
        ),
        columns=tuple([*names, "not predicted"] if missed else names),
        matrix=tuple(tuple(row if missed else row[:-1]) for row in matrix),
    )


def _figures(overall: Overall) -> dict[str, str]:
    return _OF_VOLUMES if overall.kind == "volume" else _OF_SCENES


def made_by() -> str:
    """Return the program that made a page, with its version."""
    return f"pipeline {version('pipeline')}"
