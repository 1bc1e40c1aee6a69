"""A scene clipped to a region: nothing outside it is read or predicted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.protocols import Pixels, Source
from pipeline.geometry import Box, Region
from pipeline.io.raster.shapes import rasterize


def cells_of(region: Region, box: Box) -> NDArray[np.bool_]:
    """Return which cells of `box` belong to the region: those whose center does, as `(rows, columns)`."""
    shapes = [({"type": "Polygon", "coordinates": rings}, 1) for rings in region.meeting(box)]
    return np.asarray(rasterize(shapes, (box.shape[0], box.shape[1]), (box.start[0], box.start[1])) > 0)


class ClippedSource(Source):
    """A scene of which only a region is valid."""

    def __init__(self, source: Source, region: Region) -> None:
        self._source, self._region = source, region
        self.info = replace(source.info, nodata=None)

    def read(self, box: Box) -> Pixels:
        """Return the pixels of `box`; zeros, and not valid, outside the region."""
        inside = self._region.within(box)
        values: NDArray[Any] = np.zeros((self.channels, *box.shape), self.dtype)
        valid = np.zeros(box.shape, np.bool_)
        if inside.size:
            at = inside.within(box.start).slices
            pixels = self._source.read(inside)
            cells = cells_of(self._region, inside)
            valid[at] = cells if pixels.valid is None else cells & pixels.valid
            values[(slice(None), *at)] = pixels.values
        values[:, ~valid] = 0
        return Pixels(values, None if valid.all() else valid)

    def close(self) -> None:
        """Release the file."""
        self._source.close()
