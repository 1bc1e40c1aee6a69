"""Where cells of one grid lie on another, in whatever systems both are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import Box, Grid
from pipeline.io.raster.shapes import moved, same_system

Places = NDArray[np.float64]
"""Array `(2, ...)` of rows and columns."""

_POINTS = 65
"""Points of each side by which a scene's outline is found on the other grid."""


def places_of(at: Places, grid: Grid, other: Grid) -> Places:
    """Where places of `grid`, in rows and columns of centres, lie on the grid `other`; not finite where nowhere."""
    (a, b, c), (d, e, f), _ = grid.affine
    x, y = a * at[0] + b * at[1] + c, d * at[0] + e * at[1] + f
    if grid.crs is not None and other.crs is not None and not same_system(grid.crs, other.crs):
        x, y = moved(np.column_stack([x.ravel(), y.ravel()]), grid.crs, other.crs).T.reshape(2, *at.shape[1:])
    (a, b, c), (d, e, f), _ = other.affine
    inverse = np.linalg.inv([[a, b], [d, e]])
    found: Places = np.einsum("ij,j...->i...", inverse, np.stack([x - c, y - f]))
    return found


def footprint(grid: Grid, other: Grid) -> Box:
    """The box of `other` in which a scene on `grid` lies, with some room; of no cells where they do not meet."""
    ends = places_of(spread(grid), grid, other).reshape(2, -1)
    ends = ends[:, np.isfinite(ends).all(0)]
    if not ends.size:
        return Box((0, 0), (0, 0))
    low, high = ends.min(1), ends.max(1)
    room = 2 + (high - low) / _POINTS
    start, stop = (low - room).clip(0, other.shape), (high + room).clip(0, other.shape)
    return Box((int(start[0]), int(start[1])), (int(stop[0]), int(stop[1])))


def steps_of(grid: Grid, other: Grid) -> NDArray[np.float64]:
    """How far a step of one cell of `grid` goes on `other`, all over: `(n, axis of other, axis of grid)`."""
    here, halves = spread(grid), 0.5 * np.eye(2)[:, :, None, None]
    steps = np.stack([places_of(here + half, grid, other) - places_of(here - half, grid, other) for half in halves])
    steps = steps.reshape(2, 2, -1).T
    steps = steps[np.isfinite(steps).all((1, 2))]
    found: NDArray[np.float64] = steps[np.abs(np.linalg.det(steps)) > 0]
    return found


def spread(grid: Grid) -> Places:
    """Places all over a grid, from corner to corner."""
    return np.stack(np.meshgrid(*(np.linspace(-0.5, size - 0.5, _POINTS) for size in grid.shape), indexing="ij"))
