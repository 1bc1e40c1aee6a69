"""Boundary F1 of scenes, in bounded memory: boundaries within a distance of each other.

The measure of Csurka et al., "What is a good evaluation measure for semantic segmentation?" (BMVC 2013), with a
distance in pixels instead of a share of the image's diagonal, and counts that add up over slabs and items.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.counts import Counts
from pipeline.evaluation.labels import UNCOUNTED, ClassIndices

_BITS = 8


def margin_of(distance: float) -> int:
    """Rows beyond a slab that decide its boundaries and what is near them."""
    return int(distance) + 1


def with_margin(slabs: Iterable[ClassIndices], margin: int) -> Iterator[tuple[ClassIndices, slice]]:
    """Each row once, with up to `margin` rows on both sides: indices `(2, rows, columns)`, and which rows are meant."""
    held: ClassIndices | None = None
    done = 0
    for slab in slabs:
        held = slab if held is None else np.concatenate([held, slab], axis=1)
        ready = held.shape[1] - margin
        if ready > done:
            yield held, slice(done, ready)
            first = max(0, ready - margin)
            held, done = held[:, first:], ready - first
    if held is not None:
        yield held, slice(done, held.shape[1])


def boundary_counts(indices: ClassIndices, rows: slice, classes: int, distance: float) -> Counts:
    """Boundary cells of `rows` by class, of truth and prediction, and how many of them are near one of the other.

    `indices` `(2, rows, columns)` must reach `margin_of(distance)` rows beyond `rows`, unless the scene ends there.
    """
    edges = [_boundary(plane) for plane in indices]
    near = [np.zeros(edge.shape, np.bool_) for edge in edges]
    for first in range(0, classes, _BITS):
        bits = [_bits(plane, edge, first) for plane, edge in zip(indices, edges, strict=True)]
        for one, other in ((0, 1), (1, 0)):
            near[one] |= (bits[one] & _reached(bits[other], distance)) > 0
    return {
        f"boundary_{name}{suffix}": np.bincount(plane[rows][where[rows]], minlength=classes + 1)[:classes]
        for name, plane, edge, close in zip(("truth", "predicted"), indices, edges, near, strict=True)
        for suffix, where in (("", edge), ("_near", close))
    }


def _boundary(indices: ClassIndices) -> NDArray[np.bool_]:
    """Counted cells next to a counted cell of another class; the edge of the scene is not a boundary."""
    counted = indices != UNCOUNTED
    edge = np.zeros(indices.shape, np.bool_)
    for lower, upper in (((slice(1, None),), (slice(-1),)), ((slice(None), slice(1, None)), (slice(None), slice(-1)))):
        differ = (indices[lower] != indices[upper]) & counted[lower] & counted[upper]
        edge[lower] |= differ
        edge[upper] |= differ
    return edge


def _bits(indices: ClassIndices, edge: NDArray[np.bool_], first: int) -> NDArray[np.uint8]:
    """Boundary cells of up to eight classes from `first` on, one bit for each class."""
    place = indices - first
    meant = edge & (place >= 0) & (place < _BITS)
    bits = np.left_shift(np.uint8(1), np.where(meant, place, 0).astype(np.uint8))
    return np.where(meant, bits, np.uint8(0))


def _reached(bits: NDArray[np.uint8], distance: float) -> NDArray[np.uint8]:
    """The bits of all cells within `distance` of each cell: rows of the disk are widened as they come to its middle."""
    reached, wide, width = np.zeros_like(bits), bits.copy(), 0
    for away in range(min(int(distance), len(bits) - 1), -1, -1):
        while width < isqrt(int(distance * distance - away * away)):
            width += 1
            wide[:, width:] |= bits[:, :-width]
            wide[:, :-width] |= bits[:, width:]
        reached[away:] |= wide[: len(bits) - away]
        reached[: len(bits) - away] |= wide[away:]
    return reached
