"""A rectangle of a scene as a scene of its own."""

from __future__ import annotations

from dataclasses import replace

from pipeline.engine.protocols import Pixels, Source
from pipeline.geometry import Box
from pipeline.io.raster.georeference import part_of


class PartSource(Source):
    """The cells of `box` of a scene, on their own grid. The scene stays open when this is closed."""

    def __init__(self, source: Source, box: Box) -> None:
        self._source, self._start = source, box.start
        rows, columns = box.start
        grid = part_of(source.grid, (rows, columns), (box.shape[0], box.shape[1]))
        self.info = replace(source.info, grid=grid)

    def read(self, box: Box) -> Pixels:
        """Return the pixels of `box`, counted from the first cell of the part."""
        start, stop = (tuple(a + b for a, b in zip(ends, self._start, strict=True)) for ends in (box.start, box.stop))
        return self._source.read(Box(start, stop))

    def close(self) -> None:
        """Nothing of its own is open."""
