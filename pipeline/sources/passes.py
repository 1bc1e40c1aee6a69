"""Full-width slabs of a source, in order: how staging, statistics and export walk through an input."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.engine.protocols import Pixels, Source
from pipeline.geometry import Box, cut_slabs


def slabs(source: Source, rows: int) -> Iterator[tuple[Box, Pixels]]:
    """Each slab of `rows` cells along axis 0, the last one shorter, with its pixels: one forward pass."""
    for box in cut_slabs(source.grid.shape, rows):
        yield box, source.read(box)
