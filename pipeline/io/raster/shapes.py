"""Polygonize and rasterize with GDAL, and transform points between CRSs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio import features
from rasterio._err import CPLE_BaseError
from rasterio.enums import WktVersion
from rasterio.features import shapes
from rasterio.warp import transform

from pipeline.errors import RequestError
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


def projjson(crs: str) -> dict[str, Any]:
    """Return a CRS as PROJJSON."""
    words: dict[str, Any] = parse_crs(crs).to_dict(projjson=True)
    return words


def wkt2(crs: str) -> str:
    """Return a CRS as WKT2:2019; its words as they are if PROJ does not know it."""
    try:
        words: str = parse_crs(crs).to_wkt(version=WktVersion.WKT2_2019)
    except RequestError:
        return crs
    return words


def authority_code(crs: str) -> str | None:
    """Return the code of a CRS with its authority, such as EPSG:32633; None where it is not exactly one of them."""
    found = parse_crs(crs).to_authority(confidence_threshold=100)
    return None if found is None else ":".join(found)
