"""The percentile stretch of a scene: values at two percentiles of each channel, from an even sample of its cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine import Source
from pipeline.geometry import Box, cut_slabs
from pipeline.sources.overviews import overview_of
from pipeline.sources.statistics import Histogram, InputStatistics, count_volume
from pipeline.sources.validity import is_plausible

MAX_CELLS = 1 << 21
"""Most cells to sample, spread evenly; a scene with no more is read whole."""
_READ = 1 << 20
"""Cells to read at a time, in whole blocks: at least one block."""


def stretch(source: Source, low: Sequence[float], high: Sequence[float]) -> InputStatistics:
    """Measure the value of each channel at its percentile `low`, and the distance from there to that at `high`.

    Only valid cells count; a channel without any has 0 and 0. In a scene of more than `MAX_CELLS` cells, every n-th row
    and column is sampled, from the finest overview if the file has one (averaging narrows the spread of coarser ones).
    The same file gives the same numbers. In a volume, one pass counts plausible values other than 0, see `Histogram`.
    """
    if not source.grid.is_scene:
        seen = [Histogram(source.dtype) for _ in range(source.channels)]
        count_volume(seen, source)
        return ends_of(seen, low, high)
    overview = overview_of(source, MAX_CELLS // 8) if np.prod(source.grid.shape) > MAX_CELLS else None
    try:
        values, valid = _sample(overview or source)
    finally:
        if overview is not None:
            overview.close()
    ends = [
        np.percentile(seen, (bottom, top)) if (seen := plane[valid & is_plausible(plane)]).size else np.zeros(2)
        for plane, bottom, top in zip(values, low, high, strict=True)
    ]
    return InputStatistics(tuple(float(a) for a, _ in ends), tuple(float(b - a) for a, b in ends))


def ends_of(seen: Sequence[Histogram], low: Sequence[float], high: Sequence[float]) -> InputStatistics:
    """Return the percentile stretch of a volume from the histogram of each channel."""
    ends = [(one.at(bottom), one.at(top)) for one, bottom, top in zip(seen, low, high, strict=True)]
    return InputStatistics(tuple(a for a, _ in ends), tuple(b - a for a, b in ends))


def to_gray(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Return shades of gray for a picture: black at `low`, white at `high`; NaN is black.

    >>> to_gray(np.array([-1, 0, 5, np.nan]), 0, 5)
    array([  0,   0, 255,   0], dtype=uint8)
    """
    share = np.nan_to_num((values - low) / max(high - low, 1e-9))
    return (255 * np.clip(share, 0, 1)).astype(np.uint8)


def _sample(source: Source) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Every n-th cell down and across, `(channels, rows, columns)`, and which of them are valid."""
    shape = source.grid.shape
    step = ceil(sqrt(np.prod(shape, dtype=float) / MAX_CELLS))
    rows, columns = (-(-length // step) for length in shape)
    values, valid = np.zeros((source.channels, rows, columns), source.dtype), np.zeros((rows, columns), np.bool_)
    for box in _boxes(source):
        first = [-(-start // step) for start in box.start]
        cells = tuple(slice(n * step - start, None, step) for n, start in zip(first, box.start, strict=True))
        into = tuple(slice(n, -(-stop // step)) for n, stop in zip(first, box.stop, strict=True))
        if any(part.start >= part.stop for part in into):
            continue
        pixels = source.read(box)
        values[(slice(None), *into)] = pixels.values[(slice(None), *cells)]
        valid[into] = True if pixels.valid is None else pixels.valid[cells]
    return values, valid


def _boxes(source: Source) -> Iterator[Box]:
    """Boxes of whole blocks that cover the scene."""
    height, width = source.block
    height *= max(1, min(256, _READ // width) // height)
    width *= max(1, _READ // (height * width))
    return iter(cut_slabs(source.grid.shape, height, width))
