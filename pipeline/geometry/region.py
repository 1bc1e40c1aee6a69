"""Regions: parts of a scene, as polygons."""

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
    """Polygons in GDAL's pixel coordinates (column, row), from the first corner; cells belong by their center."""

    polygons: tuple[tuple[Ring, ...], ...]
    """The rings of each polygon, the outer one first."""

    @cached_property
    def digest(self) -> str:
        """First 16 digits of the SHA-256 of its coordinates, which identify it."""
        return sha256(json.dumps(self.polygons).encode()).hexdigest()[:16]

    @cached_property
    def _bounds(self) -> NDArray[np.float64]:
        """First row and column, and last row and column, of each polygon."""
        outers = [np.array(rings[0]) for rings in self.polygons]
        return np.array([(*outer.min(0)[::-1], *outer.max(0)[::-1]) for outer in outers])

    def within(self, box: Box) -> Box:
        """Return the part of `box` that can have cells of the region; of zero size if none can."""
        meeting = self._bounds[self._meeting(box)]
        if not len(meeting):
            return Box(box.start, box.start)
        first, last = np.floor(meeting[:, :2].min(0)), np.ceil(meeting[:, 2:].max(0))
        return Box(tuple(map(int, first)), tuple(map(int, last))).clip(box)

    def meeting(self, box: Box) -> list[tuple[Ring, ...]]:
        """Return the polygons that may have cells of `box`."""
        return [self.polygons[index] for index in np.flatnonzero(self._meeting(box))]

    def _meeting(self, box: Box) -> NDArray[np.bool_]:
        reach = self._bounds
        return np.asarray((reach[:, :2] < box.stop).all(1) & (reach[:, 2:] > box.start).all(1))
