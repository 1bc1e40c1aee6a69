"""The rolling accumulator: only the rows that a later patch can still touch are in memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import Box, Lattice

Plane = NDArray[np.float32]


MANY = 16
"""Patches in one cell from which on additions are compensated (Kahan): float32 alone would drift beyond 2e-6."""


class Accumulator:
    """Blended scores of the rows in flight, in float32.

    Every cell is a plain chain of single-rounded multiplications and additions in lattice order, so its bytes do not
    depend on how the grid was cut into bands, runs and strips.
    """

    def __init__(self, classes: int, region: Box, lattice: Lattice) -> None:
        """Start sums at 0 for the first rows of `region`."""
        self._region = region
        self._top = region.start[0]
        shape = (classes, min(lattice.patch[0], region.shape[0]), *region.shape[1:])
        self._sums = np.zeros(shape, np.float32)
        self._lost = np.zeros(shape, np.float32) if lattice.depth > MANY else None

    def rows_before(self, stop: int) -> Box:
        """The cells in memory before row `stop`: final once no patch to come begins before it."""
        stop = max(self._top, min(stop, self._region.stop[0]))
        return Box((self._top, *self._region.start[1:]), (stop, *self._region.stop[1:]))

    def add(self, patch: Box, weighted: Plane) -> None:
        """Add `weighted` scores, of shape `(classes, *patch.shape)`; cells outside the region are dropped."""
        part = patch.clip(self._region)
        if part.size:
            origin = (self._top, *self._region.start[1:])
            cells = (slice(None), *part.within(origin).slices)
            scores = weighted[(slice(None), *part.within(patch.start).slices)]
            if self._lost is None:
                self._sums[cells] += scores
            else:
                _add_compensated(self._sums[cells], self._lost[cells], scores)

    def final(self, rows: Box) -> Plane:
        """Blended scores of `rows`, as `rows_before` gives them, until the next `roll`."""
        return self._sums[:, : rows.shape[0]]

    def roll(self, stop: int) -> None:
        """Drop the rows before `stop` and make room for as many new ones."""
        _shift(self._sums, stop - self._top)
        if self._lost is not None:
            _shift(self._lost, stop - self._top)
        self._top = stop


def _add_compensated(sums: Plane, lost: Plane, scores: Plane) -> None:
    """Add `scores` to `sums`, keeping in `lost` what the rounding took (Kahan 1965)."""
    exact = scores - lost
    total = sums + exact
    lost[...] = (total - sums) - exact
    sums[...] = total


def _shift(plane: Plane, rows: int) -> None:
    kept = plane.shape[1] - rows
    plane[:, :kept] = plane[:, rows:]
    plane[:, kept:] = 0
