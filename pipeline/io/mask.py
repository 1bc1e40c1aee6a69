"""A mask to write, and the metadata of a mask in a file."""

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
    """Labels with the metadata to write with them."""

    labels: Source
    grid: Grid
    """The grid of the labels: that of the input, with its exact reference."""
    nodata: int
    classes: ClassTable
    provenance: Mapping[str, Any]
    """How they were made, as JSON values."""
    sidecar_extra: Mapping[str, Any] = field(default_factory=dict)
    """Further entries of the JSON file beside a volume."""

    def slabs(self) -> Iterator[NDArray[Any]]:
        """Yield the labels from the top, in slabs that end at block edges."""
        step = self.labels.block[0]
        height = step * max(1, (SCENE_ROWS if self.grid.is_scene else VOLUME_ROWS) // step)
        return (pixels.values[0] for _, pixels in slabs(self.labels, height))


def model_names(provenance: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the models that made a mask, by its record; those that another program wrote are left out.

    >>> model_names({"model": "landcover", "others": [{"model": "mine"}]})
    ('landcover', 'mine')
    """
    found = [record.get("model") for record in model_records(provenance)]
    return tuple(name for name in found if isinstance(name, str) and name)


def model_records(provenance: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Return what the record of a mask says of each model that made it: the first is the record itself."""
    others = provenance.get("others")
    records = [provenance, *(others if isinstance(others, (list, tuple)) else ())]
    return tuple(record for record in records if isinstance(record, Mapping))


@dataclass(frozen=True)
class MaskInfo:
    """The metadata of a mask."""

    nodata: int | None = None
    classes: ClassTable = ()
    provenance: Mapping[str, Any] | None = None
    """How it was made, as JSON values; None where that is unknown."""


@dataclass(frozen=True)
class LayerRecord:
    """The metadata to write with the values of a layer."""

    bands: tuple[str, ...]
    """Name of each band."""
    scaling: tuple[float, float] | None
    """Scale and offset of the values; None: they are kept as they are."""
    provenance: Mapping[str, Any]
    """How it was made, as JSON values."""
