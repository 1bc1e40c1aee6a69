"""Forward passes over a source in full-width slabs, for staging, statistics and export."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.engine.protocols import Pixels, Source
from pipeline.geometry import Box, cut_slabs

SCENE_ROWS, VOLUME_ROWS = 1024, 16
"""Default number of rows, or slices, to read at a time."""


def slabs(source: Source, rows: int | None = None) -> Iterator[tuple[Box, Pixels]]:
    """Yield each slab of `rows` cells along axis 0, the last one shorter, with its pixels: one forward pass."""
    usual = SCENE_ROWS if source.grid.is_scene else VOLUME_ROWS
    for box in cut_slabs(source.grid.shape, rows or usual):
        yield box, source.read(box)
