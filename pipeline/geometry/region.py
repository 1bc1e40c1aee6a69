"""A part of a scene."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.box import Box

Ring = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Region:
    """Polygons in corners of a grid: x is a column, y a row. A cell belongs to it if its centre does."""

    polygons: tuple[tuple[Ring, ...], ...]
    """Rings of each, the outer one first."""

    @cached_property
    def digest(self) -> str:
        """What tells it from others: digits of the SHA-256 of its corners."""
        return sha256(json.dumps(self.polygons).encode()).hexdigest()[:16]

    @cached_property
    def _bounds(self) -> NDArray[np.float64]:
        """First row and column, and last row and column, of each polygon."""
        outers = [np.array(rings[0]) for rings in self.polygons]
        return np.array([(*outer.min(0)[::-1], *outer.max(0)[::-1]) for outer in outers])

    def within(self, box: Box) -> Box:
        """The part of `box` that can hold cells of the region; of zero size if none can."""
        meeting = self._bounds[self._meeting(box)]
        if not len(meeting):
            return Box(box.start, box.start)
        first, last = np.floor(meeting[:, :2].min(0)), np.ceil(meeting[:, 2:].max(0))
        return Box(tuple(map(int, first)), tuple(map(int, last))).clip(box)

    def meeting(self, box: Box) -> list[tuple[Ring, ...]]:
        """The polygons that may hold cells of `box`."""
        return [self.polygons[index] for index in np.flatnonzero(self._meeting(box))]

    def _meeting(self, box: Box) -> NDArray[np.bool_]:
        reach = self._bounds
        return np.asarray((reach[:, :2] < box.stop).all(1) & (reach[:, 2:] > box.start).all(1))
