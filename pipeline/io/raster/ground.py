"""Positions in a scene on the ground: world coordinates, north, and the areas of outlines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import atan2, degrees
from typing import Any

import numpy as np

from pipeline.errors import RequestError
from pipeline.geometry import Grid
from pipeline.geometry.affine import from_pixels, to_world
from pipeline.io.raster.georeference import parse_crs, transform_of
from pipeline.io.raster.placement import Placement, cell_area, ground_placement, ground_spacing, placement_of
from pipeline.io.raster.shapes import LONGITUDE_LATITUDE, Points, authority_code, projjson, transform_points

SQUARE_METERS, SQUARE_UNITS, PIXELS = "m²", "square units of the CRS", "pixels"
_PARTS = 32
"""Parts into which each side of an outline is cut before it is projected."""


@dataclass(frozen=True)
class Ground:
    """Where the cells of a scene are."""

    grid: Grid

    @cached_property
    def place(self) -> Placement | None:
        """Its place on the Earth, if it has one."""
        return placement_of(self.grid)

    def world(self, cells: Points) -> Points | None:
        """Return the coordinates `(n, 2)` of rows and columns from centers; None without a transform or points."""
        if self.place is not None:
            return self.place.world(cells)
        return None if transform_of(self.grid) is None else to_world(self.grid.affine, cells.T).T

    def lonlat(self, cells: Points) -> Points | None:
        """Return longitudes and latitudes `(n, 2)` of rows and columns; None without a place on the Earth."""
        if self.place is None:
            return None
        return transform_points(self.place.world(cells), self.place.crs, LONGITUDE_LATITUDE)

    def describe(self) -> dict[str, Any]:
        """Return the CRS, whether it is in degrees, the size of a pixel and the direction of north, as JSON values."""
        crs = self.place.crs if self.place is not None else self.grid.crs
        return {
            "crs": None if crs is None else _name_of(crs),
            "geographic": self.place is not None and parse_crs(self.place.crs).is_geographic,
            "meters": ground_spacing(self.grid),
            "north": self.north,
        }

    @cached_property
    def north(self) -> float | None:
        """Direction of north in the middle, in degrees clockwise from the top of the picture; None where unknown."""
        steps = np.array([[0, 0], [0, 1], [1, 0]])
        if (there := self.lonlat(self._middle + steps)) is None or not np.isfinite(there).all():
            return None
        across, down = there[1] - there[0], there[2] - there[0]
        stretch = np.cos(np.radians(there[0, 1]))
        ground = np.array([[across[0] * stretch, down[0] * stretch], [across[1], down[1]]])
        if np.linalg.det(ground) == 0:
            return None
        right, below = np.linalg.solve(ground, [0.0, 1.0])
        return round(degrees(atan2(right, -below)), 3)

    @property
    def _middle(self) -> Points:
        return np.array([[side / 2 for side in self.grid.shape]])

    def area(self, outline: Points) -> tuple[float, str]:
        """Return the area within an outline of columns and rows from the first corner `(n, 2)`, and its unit.

        On the Earth it is that on the ellipsoid, in m²; sides are straight in the picture.
        """
        flat = _shoelace(outline)
        if (place := ground_placement(self.grid)) is not None:
            there = place.to_ground(place.world(from_pixels(_dense(outline)).T))
            if there is not None and np.isfinite(there).all():
                return _shoelace(there), SQUARE_METERS
        if (cell := cell_area(self.grid)) is not None:
            return flat * cell, SQUARE_METERS
        placed = transform_of(self.grid) is not None
        return (flat * self.grid.cell_volume, SQUARE_UNITS) if placed else (flat, PIXELS)


def _name_of(crs: str) -> str:
    try:
        words = [authority_code(crs), projjson(crs).get("name")]
    except RequestError:
        words = []
    return " ".join(filter(None, words)) or crs[:60]


def _dense(outline: Points) -> Points:
    """Return an outline with its sides cut into parts."""
    ends = np.roll(outline, -1, axis=0)
    shares = np.arange(_PARTS)[:, None, None] / _PARTS
    return (outline * (1 - shares) + ends * shares).transpose(1, 0, 2).reshape(-1, 2)


def _shoelace(outline: Points) -> float:
    x, y = (outline - outline[0]).T
    return abs(float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))) / 2


def outline_of(points: Sequence[Sequence[float]]) -> Points:
    """Return an outline of at least three points, as an array `(n, 2)`.

    Raises:
        RequestError: It is not one.

    """
    try:
        found = np.array(points, np.float64)
    except (TypeError, ValueError):
        found = np.zeros(0)
    if found.ndim != 2 or found.shape[1:] != (2,) or not 3 <= len(found) <= 10_000 or not np.isfinite(found).all():
        raise RequestError("an outline is a list of 3 to 10,000 pairs of column and row")
    return found
