"""Overviews of labels by majority, a strip of rows at a time; the same as GDAL's, by its resampling `mode`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CELLS = 1 << 15
"""Cells of the overview that are made at a time: what they take meanwhile stays in the processor's cache."""


def halve(rows: NDArray[Any], nodata: int, before: tuple[int, int] = (0, 0)) -> NDArray[Any]:
    """Return the overview, half as large, of `rows`: each label is the most frequent one of its window.

    A window is 2 cells along each axis. Along an axis on which the whole raster has an odd number of cells, it is also
    the cell before them, as GDAL has it: `before` is the number of such rows and columns that come first in `rows`.
    What is missing at the end, and nodata, does not count. Of labels that are equally frequent, the one that reaches
    that number first is taken, row by row from the upper left.
    """
    height, width = (-(-(side - more) // 2) for side, more in zip(rows.shape, before, strict=True))
    filled = _filled(rows, (2 * height + before[0], 2 * width + before[1]), nodata)
    found, step = np.empty((height, width), rows.dtype), max(1, _CELLS // max(1, width))
    for top in range(0, height, step):
        part = found[top : top + step]
        part[:] = _halved(filled[2 * top : 2 * (top + len(part)) + before[0]], part.shape, nodata, before)
    return found


def _halved(filled: NDArray[Any], shape: tuple[int, ...], nodata: int, before: tuple[int, int]) -> NDArray[Any]:
    """Return the overview, of `shape`, of rows from which nothing is missing."""
    height, width = shape
    samples = [
        np.ascontiguousarray(filled[top::2, left::2][:height, :width]).ravel()
        for top in range(2 + before[0])
        for left in range(2 + before[1])
    ]
    found = samples[0].copy()
    mixed = np.flatnonzero(_differing(samples))
    found[mixed] = _most_frequent([sample[mixed] for sample in samples], nodata)
    return found.reshape(height, width)


def _filled(rows: NDArray[Any], shape: tuple[int, ...], nodata: int) -> NDArray[Any]:
    if rows.shape == shape:
        return rows
    filled = np.full(shape, nodata, rows.dtype)
    filled[: rows.shape[0], : rows.shape[1]] = rows
    return filled


def _differing(samples: Sequence[NDArray[Any]]) -> NDArray[np.bool_]:
    """Return where labels are not all the same, which is along borders only."""
    first, *others = samples
    differing: NDArray[np.bool_] = first != others[0]
    for other in others[1:]:
        differing |= first != other
    return differing


def _most_frequent(samples: Sequence[NDArray[Any]], nodata: int) -> NDArray[Any]:
    """Return the most frequent of several labels, cell by cell."""
    best = np.full_like(samples[0], nodata)
    most = np.zeros(best.shape, np.uint8)
    for at, sample in enumerate(samples):
        count = (sample != nodata).view(np.uint8)
        for other in samples[:at]:
            count += (sample == other).view(np.uint8)
        more = (count > most) & (sample != nodata)
        np.copyto(best, sample, where=more)
        np.copyto(most, count, where=more)
    return best
