"""Grids in GDAL's words and back, without a rounding: the words themselves are kept."""

from __future__ import annotations

from typing import Any

from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.io import DatasetReader

from pipeline.geometry import Grid

CACHE_MEGABYTES = 64
"""GDAL's own block cache: reads are aligned to blocks, so that a larger one would only hold what is not read again."""


def grid_of(dataset: DatasetReader) -> Grid:
    """The grid of a dataset: cell centres instead of GDAL's corners, and GDAL's own words as the reference."""
    a, b, c, d, e, f = tuple(dataset.transform)[:6]
    affine = ((b, a, c + (a + b) / 2), (e, d, f + (d + e) / 2), (0.0, 0.0, 1.0))
    crs = dataset.crs.to_wkt() if dataset.crs else None
    return Grid(dataset.shape, affine, ("y", "x"), crs, {"gdal": _reference(dataset, crs)})


def _reference(dataset: DatasetReader, crs: str | None) -> dict[str, Any]:
    """GDAL's words for the georeference, as JSON."""
    points, points_crs = dataset.gcps
    reference: dict[str, Any] = {
        "transform": None if dataset.transform.is_identity else list(dataset.transform)[:6],
        "crs": crs,
        "area_or_point": dataset.tags().get("AREA_OR_POINT"),
    }
    if points:
        reference["gcps"] = [[p.row, p.col, p.x, p.y, p.z, p.id, p.info] for p in points]
        reference["gcps_crs"] = points_crs.to_wkt() if points_crs else None
    if dataset.rpcs:
        reference["rpcs"] = dataset.rpcs.to_gdal()
    return reference


def georeference(grid: Grid) -> dict[str, Any]:
    """What rasterio needs to write the georeference of `grid`: GDAL's own words if it came through this door."""
    words = grid.reference.get("gdal") or {"transform": _corner(grid), "crs": grid.crs}
    where: dict[str, Any] = {"area_or_point": words.get("area_or_point"), "rpcs": words.get("rpcs")}
    if words.get("gcps"):
        where["gcps"] = [GroundControlPoint(*point) for point in words["gcps"]]
        where["crs"] = _crs(words["gcps_crs"])
    else:
        where["crs"] = _crs(words["crs"])
        if words["transform"] is not None:
            where["transform"] = Affine(*words["transform"])
    return where


def _corner(grid: Grid) -> list[float]:
    (b, a, x), (e, d, y), _ = grid.affine
    return [a, b, x - (a + b) / 2, d, e, y - (d + e) / 2]


def _crs(wkt: str | None) -> CRS | None:
    return CRS.from_user_input(wkt) if wkt else None
