"""Target grids for a scene: with another pixel size, or in another CRS."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np

from pipeline.errors import RequestError
from pipeline.geometry import Grid
from pipeline.io.raster.coordinates import Places, spread, steps_of, transform_indices
from pipeline.io.raster.georeference import grid_at, parse_crs, transform_of

Size = tuple[float, float]
"""Height and width of a cell, in units of the world."""
_ROOM = 1e-6
"""Cells that a scene may reach beyond the last row or column without another being begun."""


def resized(grid: Grid, size: Size) -> Grid:
    """Return the grid from the same corner in the same directions with cells of `size`.

    Raises:
        RequestError: The scene has no transform, or is smaller than a cell.

    """
    transform = transform_of(grid)
    if transform is None:
        raise RequestError("the scene has no transform, so the size of its pixels is unknown")
    a, b, c, d, e, f = transform
    (height, width), (rows, columns) = grid.spacing, grid.shape
    high, wide = size
    _check_size(size, (rows * height, columns * width), grid.crs)
    shape = _cells(rows * height / high), _cells(columns * width / wide)
    return grid_at(shape, (a / width * wide, b / height * high, c, d / width * wide, e / height * high, f), grid.crs)


def in_crs(grids: Sequence[Grid], crs: str, size: Size | None) -> Grid:
    """Return the north-up grid in a CRS that holds scenes; without `size`, cells of the area of the smallest.

    Raises:
        RequestError: A scene has no georeference, cannot be projected to the CRS, or is smaller than a cell.

    """
    world = Grid((1, 1), ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), ("y", "x"), crs)
    ends = np.concatenate([_ends(grid, world) for grid in grids], axis=1)
    (bottom, left), (top, right) = ends.min(1), ends.max(1)
    side = min(float(np.sqrt(np.median(np.abs(np.linalg.det(steps_of(grid, world)))))) for grid in grids)
    height, width = size or (side, side)
    if size is not None:
        _check_size(size, (float(top - bottom), float(right - left)), crs)
    shape = _cells((top - bottom) / height), _cells((right - left) / width)
    return grid_at(shape, (width, 0.0, float(left), 0.0, -height, float(top)), crs)


def _check_size(size: Size, extent: tuple[float, float], crs: str | None) -> None:
    """Raise RequestError if a cell is larger than the scene: its unit is another one than the user means."""
    if all(side > length for side, length in zip(size, extent, strict=True)):
        cell, scene = (" x ".join(f"{length:.6g}" for length in lengths) for lengths in (size, extent))
        unit = "" if crs is None else f" ({parse_crs(crs).units_factor[0]})"
        raise RequestError(
            f"--resolution: a pixel of {cell} would be larger than the whole scene, which is {scene}; give it in units "
            f"of the CRS{unit}"
        )


def _ends(grid: Grid, world: Grid) -> Places:
    """Return y and x in the CRS of `world` of positions all over a scene."""
    if transform_of(grid) is None or grid.crs is None:
        raise RequestError(
            f"--crs {world.crs}: the scene has no transform or CRS; set its CRS with `gdal_edit.py -a_srs`"
        )
    ends = transform_indices(spread(grid), grid, world)
    if not np.isfinite(ends).all():
        raise RequestError(
            f"--crs {world.crs}: part of the scene cannot be projected to this CRS; choose one that covers it"
        )
    return ends.reshape(2, -1)


def _cells(length: float) -> int:
    return max(1, ceil(length - _ROOM))
