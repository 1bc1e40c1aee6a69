"""A mask and its layers to write, and the metadata of a mask in a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.classes import ClassTable
from pipeline.engine import Source
from pipeline.geometry import Grid
from pipeline.sources.passes import SCENE_ROWS, VOLUME_ROWS, slabs

_AT_ONCE = 1 << 24
"""Voxels of a layer that are read at a time, at least one slice."""


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
    bands: tuple[str, ...] = ()
    """Name of each band of a layer, in formats whose files have no place for them."""


@dataclass(frozen=True)
class MaskLayer:
    """A layer beside a mask, with the metadata to write with it."""

    name: str
    values: Source
    """All bands, as they are stored while they are made."""
    by_band: tuple[Source, ...]
    """Each band by itself, for formats in which one follows the other."""
    grid: Grid
    """The grid of the mask."""
    bands: tuple[str, ...]
    """Name of each band."""
    scaling: tuple[float, float] | None
    """Scale and offset of the values; None: they are kept as they are."""
    provenance: Mapping[str, Any]
    """How it was made, as JSON values."""

    @property
    def nodata(self) -> float:
        """The stored value of cells that were not observed."""
        return float("nan") if self.values.info.nodata is None else self.values.info.nodata

    def floats(self) -> Iterator[NDArray[np.float32]]:
        """Yield slabs `(n, y, x)` of the values of a volume, scaled, float32, NaN where nothing was observed.

        Each band is read from the top to the end before the next one.
        """
        for source in self.by_band:
            slices = max(1, _AT_ONCE // int(np.prod(source.grid.shape[1:])))
            for _, pixels in slabs(source, min(slices, max(source.block[0], VOLUME_ROWS))):
                yield self._scaled(pixels.values[0])

    def _scaled(self, values: NDArray[Any]) -> NDArray[np.float32]:
        if self.scaling is None:
            return np.asarray(values, np.float32)
        scale, offset = self.scaling
        table: NDArray[np.float32] = (np.arange(1 << 8 * values.itemsize) * scale + offset).astype(np.float32)
        table[int(self.nodata)] = np.nan
        scaled: NDArray[np.float32] = table[values]
        return scaled
