"""Blending of overlapping patches: only cells that a later patch still touches are kept between patches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.engine import fused
from pipeline.engine.arrays import HOST, Arrays
from pipeline.engine.reader import Slices
from pipeline.geometry import Box, Lattice

Plane = Any
"""Scores, a float32 array of `Arrays`."""

COMPENSATED_OVERLAPS = 16
"""Patches per cell above which additions are compensated (Kahan): float32 alone would drift beyond 2e-6."""


class Scratch:
    """Room for the sums of a few rows of a patch, so small that they stay in the processor's cache."""

    def __init__(self, arrays: Arrays, planes: int, classes: int, patch: tuple[int, ...]) -> None:
        self.arrays = arrays
        self.cells = max(1, min(arrays.at_once // classes, prod(patch)))
        """Cells that it has room for."""
        self._planes = planes
        self._room = arrays.empty((planes * classes * self.cells,))

    def take(self, shape: tuple[int, ...]) -> Plane:
        """Return it as an array `(planes, *shape)`."""
        return self._room[: self._planes * prod(shape)].reshape(self._planes, *shape)


@dataclass(frozen=True)
class Sums:
    """Blended scores of cells, before they are added up: that is done piece by piece, where each is used."""

    scores: Plane
    """Scores of the last patch, `(classes, *cells)`."""
    weights: Plane
    """Their weights, `(*cells)`."""
    carried: Plane | None
    """Sums of the patches before it, `(planes, classes, *cells)`; None: there are none."""
    scratch: Scratch

    def __getitem__(self, at: Slices) -> Sums:
        """Return the sums of some of the cells."""
        carried = None if self.carried is None else self.carried[(slice(None), slice(None), *at)]
        return Sums(self.scores[(slice(None), *at)], self.weights[at], carried, self.scratch)

    def final(self) -> Iterator[tuple[Slices, Plane]]:
        """Yield pieces of the cells, and the sums `(classes, *piece)`, which are valid until the next piece.

        Where there is nothing to add, the weight is 1.
        """
        for at in _pieces(self.scores.shape[1:], self.scratch.cells):
            part = self[at]
            yield at, part.scores if part.carried is None else part._added()[0]

    def label(self, out: NDArray[Any]) -> bool:
        """Write the labels `(*cells)` in one pass, if that can be done here, and return whether it was."""
        return fused.label(self.scores, self.weights, self.carried, out)

    def store(self, out: Plane) -> None:
        """Write the sums to `out`, `(planes, classes, *cells)`; it may begin before `carried` in the same array."""
        if fused.store(self.scores, self.weights, self.carried, out):
            return
        if self.carried is None:
            self.scratch.arrays.multiply(self.scores, self.weights, out[0])
            out[1:] = 0
            return
        for at in _pieces(self.scores.shape[1:], self.scratch.cells):
            out[(slice(None), slice(None), *at)] = self[at]._added()

    def _added(self) -> Plane:
        sums = self.scratch.take(self.scores.shape)
        self.scratch.arrays.multiply(self.scores, self.weights, sums[0])
        _add(sums, self.carried)
        return sums


class Blend:
    """Weighted sums of scores, in float32, of patches that are added in lattice order.

    When a patch is added, some of its cells hold sums from patches before it, and some will be touched by patches after
    it. The latter are carried over: along the last axis to the next patch, along the first to the next lattice row.
    The rest is final. So what is kept is the overlap of one lattice row, however high the patch and long the image.

    Every cell is a plain chain of single-rounded multiplications and additions in lattice order, so its bytes do not
    depend on how the grid was cut into slabs, runs and strips.
    """

    def __init__(self, classes: int, lattice: Lattice, region: Box, arrays: Arrays = HOST) -> None:
        """Expect the patches of `lattice` that touch `region`, with scores in `arrays`."""
        patch = Box.whole(lattice.shape).clip(Box.whole(lattice.patch)).shape
        starts = lattice.touching(region)
        planes = 2 if lattice.max_overlaps > COMPENSATED_OVERLAPS else 1
        span = tuple(axis[-1] + side - axis[0] for axis, side in zip(starts, patch, strict=True))
        shared = [
            max((a + side - b for a, b in pairwise(axis)), default=0) for axis, side in zip(starts, patch, strict=True)
        ]
        self._spans = [_spans(axis, side) for axis, side in zip(starts, patch, strict=True)]
        self._arrays = arrays
        self._scratch = Scratch(arrays, planes, classes, patch)
        self._nothing = arrays.zeros((classes, *patch))
        self._carried = [
            arrays.empty((planes, classes, *patch[:axis], shared[axis], *span[axis + 1 :]))
            for axis in range(len(patch))
        ]

    def add(self, patch: Box, scores: Plane | None, weights: NDArray[np.float32]) -> Iterator[tuple[Box, Sums]]:
        """Add `scores`, of shape `(classes, *patch.shape)`, times `weights`; None counts as zeros.

        Yields:
            Boxes of the cells that are final with this patch, and their sums, which are valid until the next box. The
            patch is added once all have been yielded.

        """
        scores = self._nothing if scores is None else scores
        there = self._arrays.to_device(weights)
        for part in product(*(spans[start] for spans, start in zip(self._spans, patch.start, strict=True))):
            at = tuple(span.inside for span in part)
            source, target = _last(span.seen for span in part), _last(span.later for span in part)
            carried = None if source is None else self._place(part, source, at[source])
            sums = Sums(scores[(slice(None), *at)], there[at], carried, self._scratch)
            if target is None:
                yield Box(tuple(span.start for span in part), tuple(span.stop for span in part)), sums
            else:
                sums.store(self._place(part, target, part[target].ahead))

    def _place(self, part: Sequence[_Span], axis: int, along: slice) -> Plane:
        """Where the cells of a part are carried over along `axis`."""
        before, behind = (span.inside for span in part[:axis]), (span.across for span in part[axis + 1 :])
        return self._carried[axis][(slice(None), slice(None), *before, along, *behind)]


class _Span(NamedTuple):
    """Cells of a patch along an axis that are treated alike."""

    start: int
    stop: int
    seen: bool
    """Whether the patch before it has them too."""
    later: bool
    """Whether the patch after it has them too."""
    inside: slice
    """Where they are in the patch."""
    ahead: slice
    """Where they are in the patch after it."""
    across: slice
    """Where they are among the cells of all patches."""


def _spans(starts: Sequence[int], side: int) -> dict[int, list[_Span]]:
    """Cut patches along an axis where overlaps begin and end, by the start of the patch.

    Parts of patches are added in the order of their cells, so that what an earlier patch carried over is used before
    its place is taken: cells before it were there.
    """
    befores = [starts[0], *(start + side for start in starts[:-1])]
    afters = [*starts[1:], starts[-1] + side]
    return {
        start: [
            _Span(a, b, b <= before, a >= after, *(slice(a - first, b - first) for first in (start, after, starts[0])))
            for a, b in pairwise(sorted({start, before, after, start + side}))
        ]
        for start, before, after in zip(starts, befores, afters, strict=True)
    }


def _last(axes: Iterable[bool]) -> int | None:
    """The last axis for which something holds; None: there is none."""
    return max((axis for axis, holds in enumerate(axes) if holds), default=None)


def _pieces(shape: tuple[int, ...], most: int) -> Iterator[Slices]:
    """Slices, of the first axes, that cut an array of `shape` into pieces of at most `most` cells, in order."""
    if (layer := prod(shape[1:])) > most:
        layers = ((slice(first, first + 1),) for first in range(shape[0]))
        yield from ((*at, *piece) for at in layers for piece in _pieces(shape[1:], most))
        return
    rows = most // layer
    yield from ((slice(first, first + rows),) for first in range(0, shape[0], rows))


def _add(tile: Plane, carried: Plane) -> None:
    """Add what was carried over to new scores; a second plane, if there is one, keeps what the rounding took."""
    if len(tile) == 1:
        tile += carried
        return
    exact = tile[0] - carried[1]
    total = carried[0] + exact
    tile[1] = (total - carried[0]) - exact
    tile[0] = total
