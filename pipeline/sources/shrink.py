"""Bring a source to fewer cells, in one pass and in memory of the result: for pictures and previews."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.protocols import Pixels, Source
from pipeline.geometry import Box, cut_slabs

_AT_ONCE = 1 << 24
"""Cells to read at a time, in whole blocks: at least one row of them."""
Indices = NDArray[np.int64]


def sampled(source: Source, shape: tuple[int, ...]) -> Pixels:
    """Return the cell in the middle of each of `shape` equal parts: values `(channels, *shape)`, and which are valid.

    Labels stay labels. `shape` has at most as many cells along each axis as the source.
    """
    return cells_at(source, [middles(length, parts) for length, parts in zip(source.grid.shape, shape, strict=True)])


def cells_at(source: Source, at: Sequence[Indices]) -> Pixels:
    """Return the cells at these ascending indices along each axis, and which are valid."""
    shape = tuple(map(len, at))
    values = np.zeros((source.channels, *shape), source.dtype)
    valid = np.ones(shape, np.bool_)
    for box in _slabs(source):
        first, last = np.searchsorted(at[0], (box.start[0], box.stop[0]))
        if first == last:
            continue
        found = source.read(box)
        chosen: tuple[Any, ...] = np.ix_(at[0][first:last] - box.start[0], *at[1:])
        values[:, first:last] = found.values[(slice(None), *chosen)]
        if found.valid is not None:
            valid[first:last] = found.valid[chosen]
    return Pixels(values, None if valid.all() else valid)


def middles(length: int, parts: int) -> Indices:
    """Return the index of the cell in the middle of each of `parts` equal parts of an axis."""
    return (2 * np.arange(parts, dtype=np.int64) + 1) * length // (2 * parts)


def averaged(source: Source, shape: tuple[int, int]) -> Pixels:
    """Return the mean of the valid cells in each of `shape` equal parts of a scene, float32 `(channels, *shape)`.

    A part without a valid cell is not valid, and 0.
    """
    rows, columns = (_edges(length, parts) for length, parts in zip(source.grid.shape, shape, strict=True))
    sums, counts = np.zeros((source.channels, *shape)), np.zeros(shape)
    for box in _slabs(source):
        found = source.read(box)
        part = np.clip(rows, box.start[0], box.stop[0])
        touched = np.flatnonzero(np.diff(part))
        starts = part[touched] - box.start[0]
        seen = np.ones(box.shape, np.bool_) if found.valid is None else found.valid
        counts[touched] += _summed(seen, starts, columns)
        for channel, plane in enumerate(found.values):
            sums[channel, touched] += _summed(
                plane if found.valid is None else np.where(seen, plane, 0), starts, columns
            )
    means = sums / np.maximum(counts, 1)
    return Pixels(means.astype(np.float32), None if counts.all() else counts > 0)


def _summed(plane: NDArray[np.generic], rows: Indices, columns: Indices) -> NDArray[np.float64]:
    """Return sums over parts that begin at these rows and columns, the last ones at the end of the plane.

    Rows are added part by part: `reduceat` along the first axis takes 20 times as long.
    """
    kind, ends = np.float64 if plane.dtype.kind == "f" else np.int64, (*rows[1:].tolist(), len(plane))
    parts = (plane[start:stop] for start, stop in zip(rows.tolist(), ends, strict=True))
    across = np.stack([part.sum(axis=0, dtype=kind) for part in parts])
    return np.asarray(np.add.reduceat(across, columns[:-1], axis=1), np.float64)


def _edges(length: int, parts: int) -> Indices:
    return np.arange(parts + 1, dtype=np.int64) * length // parts


def _slabs(source: Source) -> Iterator[Box]:
    """Yield full-width slabs of whole blocks."""
    height, width = source.block[0], int(np.prod(source.grid.shape[1:]))
    return iter(cut_slabs(source.grid.shape, height * max(1, _AT_ONCE // (height * width))))
