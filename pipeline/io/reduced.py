"""Read a scene at a lower resolution: from overviews of its file, or by reducing its cells as they are read."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine import Pixels, Source
from pipeline.geometry import Box
from pipeline.io.majority import halve
from pipeline.sources.overviews import HasReducedReads

_AT_ONCE = 1 << 22
"""Cells that are reduced at a time."""


def reduced_shape(box: Box, step: int) -> tuple[int, int]:
    """Return the shape of `box` where `step` cells along each axis become one; the last one may stand for fewer."""
    rows, columns = (ceil(side / step) for side in box.shape)
    return rows, columns


def read_reduced(source: Source, box: Box, step: int, *, nodata: int | None = None) -> Pixels:
    """Read `box` of a scene with `step` cells along each axis as one, a power of 2: `reduced_shape(box, step)`.

    A raster answers from its overviews, else with the nearest cell. Of other sources, the mean of the valid cells is
    returned, rounded for integers; of labels, which are those whose `nodata` is given, the most frequent ones of 2 x 2,
    again and again.
    """
    if step == 1:
        return source.read(box)
    if isinstance(source, HasReducedReads):
        return source.read_reduced(box, reduced_shape(box, step))
    shape = reduced_shape(box, step)
    values, valid = np.zeros((source.channels, *shape), source.dtype), np.ones(shape, np.bool_)
    for part in _parts(source, box, step):
        pixels = source.read(part)
        start = tuple((side - first) // step for side, first in zip(part.start, box.start, strict=True))
        at = Box(start, tuple(a + b for a, b in zip(start, reduced_shape(part, step), strict=True))).slices
        values[(slice(None), *at)], valid[at] = (
            _means(pixels, step) if nodata is None else _majority(pixels, step, nodata)
        )
    return Pixels(values, None if valid.all() else valid)


def _parts(source: Source, box: Box, step: int) -> Iterator[Box]:
    """Yield the parts of `box` that are read at a time: of whole blocks, if it begins with one, and of whole steps."""
    height, width = (step * ceil(side / step) for side in source.block)
    width *= max(1, _AT_ONCE // (height * width))
    for top in range(box.start[0], box.stop[0], height):
        for left in range(box.start[1], box.stop[1], width):
            yield Box((top, left), (top + height, left + width)).clip(box)


def _majority(pixels: Pixels, step: int, nodata: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    labels = pixels.values[0]
    while step > 1:
        labels, step = halve(labels, nodata), step // 2
    return labels[None], labels != nodata


def _means(pixels: Pixels, step: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the mean of the valid cells of each window, `(channels, rows, columns)`, and where there are any."""
    values, valid = pixels
    seen = np.ones(values.shape[1:], np.bool_) if valid is None else valid
    counts = _sums(seen, step)
    sums = np.stack([_sums(np.where(seen, plane, 0), step) for plane in values])
    means = sums / np.maximum(counts, 1)
    return np.rint(means).astype(values.dtype) if values.dtype.kind in "iu" else means.astype(values.dtype), counts > 0


def _sums(plane: NDArray[Any], step: int) -> NDArray[np.float64]:
    """Return the sum of each window of `step` x `step` cells, those at the end with fewer."""
    rows, columns = (np.arange(0, side, step) for side in plane.shape)
    down = np.add.reduceat(plane, rows, axis=0, dtype=np.float64)
    return np.asarray(np.add.reduceat(down, columns, axis=1))
