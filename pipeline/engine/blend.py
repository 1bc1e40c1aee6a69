"""Blending of overlapping patches: only cells that a later patch still touches are kept between patches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, pairwise
from operator import lt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.arrays import HOST, Arrays
from pipeline.geometry import Box, Lattice

Plane = Any
"""Scores, a float32 array of `Arrays`."""

COMPENSATED_OVERLAPS = 16
"""Patches per cell above which additions are compensated (Kahan): float32 alone would drift beyond 2e-6."""


class Blend:
    """Weighted sums of scores, in float32, of patches that are added in lattice order.

    When a patch is added, some of its cells hold sums from patches before it, and some will be touched by patches after
    it. The latter are carried over: along the last axis to the next patch, along the first to the next lattice row.
    The rest is final. So what is kept is the overlap of one lattice row, however high the patch and long the image.

    Every cell is a plain chain of single-rounded multiplications and additions in lattice order, so its bytes do not
    depend on how the grid was cut into slabs, runs and strips.
    """

    TILES = 2
    """Number of the calls of `add` whose results are valid at the same time."""

    def __init__(self, classes: int, lattice: Lattice, region: Box, arrays: Arrays = HOST) -> None:
        """Expect the patches of `lattice` that touch `region`, with scores in `arrays`."""
        patch = Box.whole(lattice.shape).clip(Box.whole(lattice.patch)).shape
        starts = lattice.touching(region)
        planes = 2 if lattice.max_overlaps > COMPENSATED_OVERLAPS else 1
        self._before = [
            dict(zip(axis[1:], [start + side for start in axis], strict=False))
            for axis, side in zip(starts, patch, strict=True)
        ]
        self._after = [dict(pairwise(axis)) for axis in starts]
        self._origin = tuple(axis[0] for axis in starts)
        span = tuple(axis[-1] + side - axis[0] for axis, side in zip(starts, patch, strict=True))
        shared = [max((stop - start for start, stop in before.items()), default=0) for before in self._before]
        self._arrays = arrays
        self._tiles = cycle([arrays.empty((planes, classes, *patch)) for _ in range(self.TILES)])
        self._tile = next(self._tiles)
        self._carried = [
            arrays.empty((planes, classes, *patch[:axis], shared[axis], *span[axis + 1 :]))
            for axis in range(len(patch))
        ]

    def add(self, patch: Box, scores: Plane | None, weights: NDArray[np.float32]) -> Iterator[tuple[Box, Plane]]:
        """Add `scores`, of shape `(classes, *patch.shape)`, times `weights`; None counts as zeros.

        Returns:
            Boxes of the cells that are final with this patch, and their scores, which are valid until the next call but
            one.

        """
        self._tile = next(self._tiles)
        alone = self._alone(patch) if scores is not None else Box(patch.start, patch.start)
        self._weigh(scores, weights, patch, alone)
        rest = patch
        for axis in reversed(range(len(patch.start))):
            seen, rest = rest.split(axis, self._before[axis].get(patch.start[axis], patch.start[axis]))
            if seen.size:
                _add(self._tile[_at(seen, patch.start)], self._place(seen, patch, axis, patch.start[axis]))
        rest = patch
        for axis in reversed(range(len(patch.start))):
            after = self._after[axis].get(patch.start[axis], patch.stop[axis])
            rest, later = rest.split(axis, after)
            if later.size:
                self._place(later, patch, axis, after)[...] = self._tile[_at(later, patch.start)]
        return self._final(rest, patch, alone, scores)

    def _alone(self, patch: Box) -> Box:
        """The cells of no other patch, if there are any: their weight is 1, so their scores are final as they are."""
        axes = range(len(patch.start))
        start = tuple(self._before[axis].get(patch.start[axis], patch.start[axis]) for axis in axes)
        stop = tuple(self._after[axis].get(patch.start[axis], patch.stop[axis]) for axis in axes)
        return Box(start, stop) if all(map(lt, start, stop)) else Box(patch.start, patch.start)

    def _weigh(self, scores: Plane | None, weights: NDArray[np.float32], patch: Box, alone: Box) -> None:
        self._tile[1:] = 0
        if scores is None:
            self._tile[0] = 0
            return
        there = self._arrays.to_device(weights)
        for cells in _around(alone, patch):
            at = cells.within(patch.start).slices
            self._arrays.multiply(scores[(slice(None), *at)], there[at], self._tile[(0, slice(None), *at)])

    def _final(self, rest: Box, patch: Box, alone: Box, scores: Plane | None) -> Iterator[tuple[Box, Plane]]:
        for cells in _around(alone, rest):
            yield cells, self._tile[0][_at(cells, patch.start)[1:]]
        if scores is not None and alone.size:
            yield alone, scores[_at(alone, patch.start)[1:]]

    def _place(self, box: Box, patch: Box, axis: int, first: int) -> Plane:
        """Where the cells of `box` are carried over along `axis`, of which the first row is `first`."""
        return self._carried[axis][_at(box, (*patch.start[:axis], first, *self._origin[axis + 1 :]))]


def _around(inside: Box, box: Box) -> Iterator[Box]:
    """Boxes that fill `box` without `inside`."""
    if not inside.size:
        yield box
        return
    for axis in range(len(box.start)):
        before, box = box.split(axis, inside.start[axis])
        box, after = box.split(axis, inside.stop[axis])
        yield from (part for part in (before, after) if part.size)


def _at(box: Box, origin: tuple[int, ...]) -> tuple[slice, ...]:
    return (slice(None), slice(None), *box.within(origin).slices)


def _add(tile: Plane, carried: Plane) -> None:
    """Add what was carried over to new scores; a second plane, if there is one, keeps what the rounding took."""
    if len(tile) == 1:
        tile += carried
        return
    exact = tile[0] - carried[1]
    total = carried[0] + exact
    tile[1] = (total - carried[0]) - exact
    tile[0] = total
