"""What is written as a mask, and what a file says of the mask that is in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from pipeline.classes import ClassTable
from pipeline.engine import Source
from pipeline.geometry import Grid
from pipeline.sources.passes import SCENE_ROWS, VOLUME_ROWS, slabs


@dataclass(frozen=True)
class Mask:
    """Labels with all that goes beside them into a file."""

    labels: Source
    grid: Grid
    """Where the labels lie: the input's own grid, with its file's words."""
    nodata: int
    classes: ClassTable
    made: Mapping[str, Any]
    """How they were made, as JSON values."""
    told: Mapping[str, Any] = field(default_factory=dict)
    """What else the JSON file beside a volume says."""

    def slabs(self) -> Iterator[NDArray[Any]]:
        """The labels from the top, in slabs that end where blocks end."""
        step = self.labels.block[0]
        height = step * max(1, (SCENE_ROWS if self.grid.is_scene else VOLUME_ROWS) // step)
        return (pixels.values[0] for _, pixels in slabs(self.labels, height))


@dataclass(frozen=True)
class MaskInfo:
    """What a mask says of itself, beside its cells."""

    nodata: int | None = None
    classes: ClassTable = ()
    made: Mapping[str, Any] | None = None
    """How it was made, as JSON values; None where it does not say."""


@dataclass(frozen=True)
class LayerRecord:
    """What goes into a file beside the values of a layer."""

    bands: tuple[str, ...]
    """Name of each band."""
    scaling: tuple[float, float] | None
    """Scale and offset of the values; None: they are kept as they are."""
    made: Mapping[str, Any]
    """How it was made, as JSON values."""
