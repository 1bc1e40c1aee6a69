"""Convert grids from and to GDAL's georeference without rounding: the original is kept with the grid."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.io import DatasetReader, MemoryFile
from rasterio.shutil import copy

from pipeline.errors import InputError, RequestError
from pipeline.geometry import Grid
from pipeline.geometry.affine import from_transform, shifted, shifted_transform, to_transform

_NO_CRS = 'LOCAL_CS["unnamed",'
"""How GDAL reads a GeoTIFF that says it is of points or areas, without a CRS."""
_SET_TRANSFORMS = frozenset(["GTiff", "COG", "VRT"])
"""Drivers that set the transform of a dataset that has none to the identity."""


def grid_of(dataset: DatasetReader) -> Grid:
    """Return the grid of a dataset: cell centers instead of GDAL's corners, and GDAL's georeference as the reference.

    Raises:
        InputError: The transform is not finite or folds the scene flat, or RPC coefficients are damaged.

    """
    a, b, _, d, e, _ = corner = tuple(_transform(dataset))[:6]
    if not all(map(isfinite, corner)) or a * e == b * d:
        raise InputError(
            f"{dataset.name}: its transform {corner} is not finite or folds the scene flat; correct it, or "
            "remove it with `gdal_edit.py -unsetgt`"
        )
    words = _reference(dataset, corner)
    return Grid(dataset.shape, from_transform(corner), ("y", "x"), words["crs"], {"gdal": words})


def grid_at(shape: tuple[int, int], transform: Sequence[float], crs: str | None) -> Grid:
    """Return the grid of cells with GDAL's `transform`, of corners, in rasterio's order."""
    wkt = _wkt(_crs(crs))
    words = {"transform": list(transform), "crs": wkt, "area_or_point": "Area"}
    return Grid(shape, from_transform(transform), ("y", "x"), wkt, {"gdal": words})


def transform_of(grid: Grid) -> list[float] | None:
    """Return GDAL's transform of a grid, of corners, in rasterio's order; None where it has none."""
    found: list[float] | None = grid.reference.get("gdal", {"transform": to_transform(grid.affine)})["transform"]
    return found


def _transform(dataset: DatasetReader) -> Affine:
    """Return GDAL's transform, or the identity where GDAL says that there is none.

    Some drivers leave the memory of a transform that they do not have as it was, and rasterio passes on what was there.
    A VRT of the dataset has a transform only if the dataset has one.
    """
    transform = Affine(*dataset.transform[:6])
    if dataset.driver in _SET_TRANSFORMS or transform.is_identity:
        return transform
    with MemoryFile(ext=".vrt") as virtual:
        copy(dataset, virtual.name, driver="VRT")
        return transform if b"<GeoTransform>" in virtual.read() else Affine.identity()


def _reference(dataset: DatasetReader, transform: tuple[float, ...]) -> dict[str, Any]:
    """GDAL's words for the georeference, as JSON: a transform, or else ground control points, and coefficients.

    GDAL 3.10 moves the control points of a new file by a cell if it is marked as one of points: such marks are dropped.
    """
    placed = transform != tuple(Affine.identity())[:6]
    points, points_crs = dataset.gcps
    reference: dict[str, Any] = {
        "transform": list(transform) if placed else None,
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
    """Return rasterio's keywords for the georeference of `grid`: GDAL's original if it was read by GDAL."""
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


def part_of(grid: Grid, start: tuple[int, int], shape: tuple[int, int]) -> Grid:
    """Return the grid of a part of a scene from a cell on, in its own words; RPCs are left out."""
    affine = shifted(grid.affine, start)
    if "gdal" not in grid.reference:
        return Grid(shape, affine, grid.axes, grid.crs)
    words = dict(grid.reference["gdal"])
    if words["transform"] is not None:  # a single tile may have none
        words["transform"] = shifted_transform(words["transform"], start)
    words |= {"rpcs": None} if "rpcs" in words else {}
    if words.get("gcps"):
        words["gcps"] = [[row - start[0], column - start[1], *rest] for row, column, *rest in words["gcps"]]
    return Grid(shape, affine, grid.axes, grid.crs, {"gdal": words})


def same_crs(one: str | None, other: str | None) -> bool:
    """Return whether two CRSs, each as WKT or an authority code, are the same; None only equals None."""
    return one == other or (one is not None and other is not None and bool(parse_crs(one) == parse_crs(other)))


def parse_crs(words: str) -> CRS:
    """Return a CRS from WKT, an authority code or a PROJ string.

    Raises:
        RequestError: PROJ does not know it.

    """
    try:
        return CRS.from_user_input(words)
    except CRSError as error:
        raise RequestError(f"{words[:80]}: is not a CRS that PROJ knows; give one such as EPSG:32633") from error


def _wkt(crs: CRS | None) -> str | None:
    wkt: str | None = crs.to_wkt() if crs else None
    return None if wkt and wkt.startswith(_NO_CRS) else wkt


def _crs(words: str | None) -> CRS | None:
    return parse_crs(words) if words else None
