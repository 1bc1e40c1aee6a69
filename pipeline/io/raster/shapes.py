"""Polygonize and rasterize with GDAL, and transform points between CRSs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio import features
from rasterio._err import CPLE_BaseError
from rasterio.features import shapes
from rasterio.warp import transform

from pipeline.geometry import Grid
from pipeline.geometry.affine import to_world
from pipeline.io.raster.georeference import parse_crs

Points = NDArray[np.float64]
"""Array `(n, 2)` of x and y."""
Ring = Sequence[tuple[float, float]]
_TOGETHER = 8
LONGITUDE_LATITUDE = "OGC:CRS84"


def polygonize(labels: NDArray[Any], nodata: int, top: int) -> Iterator[tuple[int, list[Ring]]]:
    """Yield the value and rings of each region of equal `labels` `(rows, columns)`, joined by edges, except `nodata`.

    Vertices are columns and rows of the grid, in which the first of these rows is `top`; the outer ring comes first.
    """
    kind = labels.dtype if labels.dtype in (np.uint8, np.uint16) else np.int32
    found = shapes(labels.astype(kind, copy=False), labels != nodata, 4, Affine.translation(0, top))
    return ((int(value), shape["coordinates"]) for shape, value in found)


def rasterize(shapes_and_values: Iterable[tuple[Any, int]], shape: tuple[int, int], origin: tuple[int, int]) -> Any:  # noqa: ANN401
    """Return the values of shapes, in pixel coordinates, at the cells `(rows, columns)` from `origin`, else 0; uint32.

    A cell belongs to the shape that contains its center; where several do, to the last one.
    """
    pairs = list(shapes_and_values)
    if not pairs:
        return np.zeros(shape, np.uint32)
    return features.rasterize(pairs, shape, transform=Affine.translation(origin[1], origin[0]), dtype=np.uint32)


def transform_points(points: Points, source: str, target: str) -> Points:
    """Transform points `(n, 2)` from the CRS `source` to the CRS `target`; not finite where that fails.

    One point that cannot be transformed fails a whole call of GDAL, so the rest is found by halves; up to `_TOGETHER`
    neighbors are given up with it.
    """
    try:
        xs, ys = transform(parse_crs(source), parse_crs(target), points[:, 0], points[:, 1])
    except CPLE_BaseError:
        if len(points) <= _TOGETHER:
            return np.full(points.shape, np.nan)
        return np.concatenate([transform_points(half, source, target) for half in np.array_split(points, 2)])
    return np.column_stack([xs, ys])


def world_of(grid: Grid, cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the world coordinates `(n, 2)` of positions in a scene, rows and columns `(n, 2)`."""
    return to_world(grid.affine, cells.T).T


def local_equal_area_crs(grid: Grid) -> str | None:
    """Return an equal-area CRS centered on a scene, in meters; None where its location is unknown."""
    if grid.crs is None or not ((crs := parse_crs(grid.crs)).is_geographic or crs.is_projected):
        return None
    middle = world_of(grid, np.array([[length / 2 for length in grid.shape]]))
    longitude, latitude = transform_points(middle, grid.crs, LONGITUDE_LATITUDE)[0]
    if not (np.isfinite(longitude) and np.isfinite(latitude)):
        return None
    return f"+proj=laea +lat_0={latitude:.6f} +lon_0={longitude:.6f} +datum=WGS84 +units=m"


def ground_size(grid: Grid) -> float | None:
    """Return the mean side of the center pixel of a scene in meters; None where its location is unknown."""
    crs = local_equal_area_crs(grid)
    if crs is None or grid.crs is None:
        return None
    row, column = (length / 2 for length in grid.shape)
    at = np.array([[row, column], [row + 1, column], [row, column + 1]])
    middle, below, beside = transform_points(world_of(grid, at), grid.crs, crs)
    size = float(np.hypot(*(below - middle)) + np.hypot(*(beside - middle))) / 2
    return size if np.isfinite(size) else None


def projjson(crs: str) -> dict[str, Any]:
    """Return a CRS as PROJJSON."""
    words: dict[str, Any] = parse_crs(crs).to_dict(projjson=True)
    return words
