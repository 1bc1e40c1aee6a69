"""The position of cells and outlines on another grid, in any CRS."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import RequestError
from pipeline.geometry import Box, Grid
from pipeline.geometry.affine import solve_index, to_index, to_pixels, to_world
from pipeline.geometry.region import Ring
from pipeline.io.raster.georeference import same_crs, transform_of
from pipeline.io.raster.shapes import Points, transform_points

Places = NDArray[np.float64]
"""Array `(2, ...)` of rows and columns."""

_POINTS = 65
"""Points of each side by which a scene's outline is found on the other grid."""
_EDGE = 1 / 64
"""Longest part of an outline, as a share of its extent, that is projected to another CRS as a straight line."""


def transform_indices(at: Places, grid: Grid, other: Grid) -> Places:
    """Return positions of `grid`, as rows and columns of centers, on the grid `other`; not finite where undefined."""
    world = to_world(grid.affine, at)
    if grid.crs is not None and other.crs is not None and not same_crs(grid.crs, other.crs):
        world = transform_points(world.reshape(2, -1).T, grid.crs, other.crs).T.reshape(world.shape)
    return to_index(other.affine, world)


def footprint(grid: Grid, other: Grid) -> Box:
    """Return the box of `other` that a scene on `grid` covers, with a margin; empty where they do not meet."""
    ends = transform_indices(spread(grid), grid, other).reshape(2, -1)
    ends = ends[:, np.isfinite(ends).all(0)]
    if not ends.size:
        return Box((0, 0), (0, 0))
    low, high = ends.min(1), ends.max(1)
    room = 2 + (high - low) / _POINTS
    start, stop = (low - room).clip(0, other.shape), (high + room).clip(0, other.shape)
    return Box((int(start[0]), int(start[1])), (int(stop[0]), int(stop[1])))


def steps_of(grid: Grid, other: Grid) -> NDArray[np.float64]:
    """Return the length of one cell of `grid` on `other`, all over it: `(n, axis of other, axis of grid)`."""
    here, halves = spread(grid), 0.5 * np.eye(2)[:, :, None, None]
    steps = np.stack(
        [transform_indices(here + half, grid, other) - transform_indices(here - half, grid, other) for half in halves]
    )
    steps = steps.reshape(2, 2, -1).T
    steps = steps[np.isfinite(steps).all((1, 2))]
    found: NDArray[np.float64] = steps[np.abs(np.linalg.det(steps)) > 0]
    return found


def spread(grid: Grid) -> Places:
    """Return positions all over a grid, from corner to corner."""
    return np.stack(np.meshgrid(*(np.linspace(-0.5, size - 0.5, _POINTS) for size in grid.shape), indexing="ij"))


def rings_to_pixels(rings: Sequence[Points], crs: str | None, grid: Grid) -> tuple[Ring, ...]:
    """Return the rings of a polygon in pixel coordinates of a grid, `(column, row)` from the corner of its first cell.

    Where `crs`, that of the rings, or the grid's own is unknown, they are taken to be the same.

    Raises:
        RequestError: The scene has no transform, or corners cannot be projected.

    """
    if transform_of(grid) is None:
        raise RequestError("the scene has no transform, so outlines cannot be placed in it")
    return tuple(_ring_to_pixels(ring, crs, grid) for ring in rings)


def _ring_to_pixels(ring: Points, crs: str | None, grid: Grid) -> Ring:
    if crs is not None and grid.crs is not None:
        ring = transform_points(_dense(ring), crs, grid.crs)
    if not np.isfinite(ring).all():
        raise RequestError("an outline has corners that cannot be projected to the scene's CRS; clip it first")
    return tuple((column, row) for column, row in to_pixels(solve_index(grid.affine, ring.T)).tolist())


def _dense(ring: Points) -> Points:
    longest = _EDGE * max(np.ptp(ring, axis=0).max(), 1e-12)
    parts = np.maximum(1, np.ceil(np.linalg.norm(np.diff(ring, axis=0), axis=1) / longest)).astype(int)
    steps = [
        np.linspace(start, stop, count, endpoint=False)
        for start, stop, count in zip(ring[:-1], ring[1:], parts, strict=True)
    ]
    return np.concatenate([*steps, ring[-1:]])
