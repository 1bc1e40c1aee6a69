"""Grids in GDAL's words and back, without a rounding: the words themselves are kept."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.io import DatasetReader

from pipeline.errors import InputError, RequestError
from pipeline.geometry import Grid
from pipeline.geometry.affine import from_transform, to_transform

_NO_SYSTEM = 'LOCAL_CS["unnamed",'
"""How GDAL reads a GeoTIFF that says it is of points or areas, and nothing of a system."""


def grid_of(dataset: DatasetReader) -> Grid:
    """The grid of a dataset: cell centres instead of GDAL's corners, and GDAL's own words as the reference.

    Raises InputError for a transform that is no number or folds the scene flat, and for coefficients that are none.
    """
    a, b, _, d, e, _ = corner = tuple(dataset.transform)[:6]
    if not all(map(isfinite, corner)) or a * e == b * d:
        raise InputError(
            f"{dataset.name}: its transform {corner} is not finite or folds the scene flat; correct it, or "
            "remove it with `gdal_edit.py -unsetgt`"
        )
    words = _reference(dataset)
    return Grid(dataset.shape, from_transform(corner), ("y", "x"), words["crs"], {"gdal": words})


def grid_at(shape: tuple[int, int], transform: Sequence[float], crs: str | None) -> Grid:
    """The grid of cells that GDAL would place by `transform`, of corners, as rasterio orders it."""
    wkt = _wkt(_crs(crs))
    words = {"transform": list(transform), "crs": wkt, "area_or_point": "Area"}
    return Grid(shape, from_transform(transform), ("y", "x"), wkt, {"gdal": words})


def transform_of(grid: Grid) -> list[float] | None:
    """GDAL's transform of a grid, of corners, as rasterio orders it; None where it has none."""
    found: list[float] | None = grid.reference.get("gdal", {"transform": to_transform(grid.affine)})["transform"]
    return found


def _reference(dataset: DatasetReader) -> dict[str, Any]:
    """GDAL's words for the georeference, as JSON: a transform, or else ground control points, and coefficients.

    GDAL 3.10 moves the control points of a new file by a cell if it is marked as one of points: such marks are dropped.
    """
    placed = not dataset.transform.is_identity
    points, points_crs = dataset.gcps
    reference: dict[str, Any] = {
        "transform": list(dataset.transform)[:6] if placed else None,
        "crs": _wkt(dataset.crs) if placed or not points else None,
        "area_or_point": dataset.tags().get("AREA_OR_POINT", "Area"),
    }
    if points and not placed:
        reference["gcps"] = [[p.row, p.col, p.x, p.y, p.z, p.id, p.info] for p in points]
        reference["gcps_crs"] = _wkt(points_crs)
        reference["area_or_point"] = "Area"
    try:
        coefficients = dataset.rpcs
    except (ValueError, KeyError) as error:
        raise InputError(f"{dataset.name}: its RPC coefficients are damaged ({error}); remove them") from error
    if coefficients:
        reference["rpcs"] = coefficients.to_gdal()
    return reference


def georeference(grid: Grid) -> dict[str, Any]:
    """What rasterio needs to write the georeference of `grid`: GDAL's own words if it came through this door."""
    words = grid.reference.get("gdal") or {"transform": to_transform(grid.affine), "crs": grid.crs}
    where: dict[str, Any] = {"area_or_point": words.get("area_or_point"), "rpcs": words.get("rpcs")}
    if words.get("gcps"):
        where["gcps"] = [GroundControlPoint(*point) for point in words["gcps"]]
        where["crs"] = _crs(words["gcps_crs"])
    else:
        where["crs"] = _crs(words["crs"])
        if words["transform"] is not None:
            where["transform"] = Affine(*words["transform"])
    return where


def same_crs(one: str | None, other: str | None) -> bool:
    """Whether two coordinate systems, each as WKT or an authority code, are the same; None is only the same as None."""
    return one == other or (one is not None and other is not None and bool(parse_crs(one) == parse_crs(other)))


def parse_crs(words: str) -> CRS:
    """A coordinate system from WKT, an authority code or a PROJ string; RequestError for what is none of these."""
    try:
        return CRS.from_user_input(words)
    except CRSError as error:
        raise RequestError(f"{words[:80]}: is not a CRS that PROJ knows; give one such as EPSG:32633") from error


def _wkt(crs: CRS | None) -> str | None:
    wkt: str | None = crs.to_wkt() if crs else None
    return None if wkt and wkt.startswith(_NO_SYSTEM) else wkt


def _crs(words: str | None) -> CRS | None:
    return parse_crs(words) if words else None
