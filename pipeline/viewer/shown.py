"""A layer of a scene as it is shown: its tiles, painted."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import product

import numpy as np

from pipeline.engine import STEPS, Pixels, Source
from pipeline.errors import InputError
from pipeline.geometry import Box
from pipeline.io.band_names import BandName
from pipeline.io.opening import open_source
from pipeline.masks.paint import (
    Picture,
    Range,
    color_table,
    first_three,
    paint_image,
    paint_labels,
    paint_values,
    ranges_of,
    shown_bands,
)
from pipeline.viewer.layers import Layer
from pipeline.viewer.reader import TILE, Reader, levels_of

_PLACES, _SIDE = 6, 128
"""Places along each axis, and cells along a side of each, that stand for a scene that cannot be read as a whole."""


class ShownLayer:
    """A layer of a scene, read at any resolution and painted."""

    def __init__(self, layer: Layer, bands: Sequence[BandName] | None) -> None:
        """Open what is shown of it; `bands` are those of an image."""
        self.layer = layer
        chosen = shown_bands(layer.source, bands) if layer.kind == "image" else None
        source = open_source(layer.item, bands=chosen, affine="sform")
        self.reader = Reader(source, layer.nodata if layer.kind == "mask" else None)

    @cached_property
    def ranges(self) -> list[Range]:
        """What is black and white in each channel that is shown, or at the ends of the ramp."""
        source = self.reader.source
        if self.layer.scaling is not None:
            return [(1.0, STEPS + 1.0)]
        return ranges_of(first_three(self._overview() or _sample(source)))

    def _overview(self) -> Pixels | None:
        """Return the scene at its lowest resolution; None if that is not made yet, or part of it is damaged."""
        whole = Box.whole(self.reader.source.grid.shape)
        if self.reader.progress < 1:
            return None
        with suppress(InputError):
            return self.reader.read(whole, 1 << levels_of(whole.shape) - 1)
        return None

    def tile(self, level: int, row: int, column: int, hidden: Collection[int]) -> Picture:
        """Return a tile, `(TILE, TILE, 4)`, transparent where the scene ends; level 0 has the cells of the scene."""
        side = TILE << level
        box = Box((row * side, column * side), ((row + 1) * side, (column + 1) * side))
        box = box.clip(Box.whole(self.reader.source.grid.shape))
        picture = np.zeros((TILE, TILE, 4), np.uint8)
        if box.size:
            painted = self._paint(self.reader.read(box, 1 << level), hidden)
            picture[: painted.shape[0], : painted.shape[1]] = painted
        return picture

    def _paint(self, pixels: Pixels, hidden: Collection[int]) -> Picture:
        if self.layer.kind == "mask":
            size = 1 << 8 * self.reader.source.dtype.itemsize
            return paint_labels(pixels, color_table(self.layer.classes, size, self.layer.nodata, hidden))
        if self.layer.kind == "values":
            return paint_values(pixels, self.ranges[0])
        return paint_image(first_three(pixels), self.ranges)

    def close(self) -> None:
        """Close the file."""
        self.reader.close()


def _sample(source: Source) -> Pixels:
    """Return pixels from places all over a scene, side by side, but for those that are damaged."""
    shape = source.grid.shape
    starts = [
        np.linspace(0, max(0, length - _SIDE), _PLACES if length > _SIDE else 1).astype(int).tolist()
        for length in shape
    ]
    values, valid = [np.zeros((source.channels, 1, 0), source.dtype)], [np.zeros((1, 0), np.bool_)]
    for top, left in product(*starts):
        box = Box((top, left), (top + _SIDE, left + _SIDE)).clip(Box.whole(shape))
        with suppress(InputError):
            found, seen = source.read(box)
            values.append(found.reshape(len(found), 1, -1))
            valid.append((np.ones(box.shape, np.bool_) if seen is None else seen).reshape(1, -1))
    return Pixels(np.concatenate(values, axis=2), np.concatenate(valid, axis=1))
