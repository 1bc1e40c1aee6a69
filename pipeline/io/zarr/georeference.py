"""The grid of a foreign array: by CF, GeoZarr or its coordinates for scenes, by NIfTI or OME-Zarr for volumes."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr

from pipeline.geometry import Grid
from pipeline.geometry.affine import from_geotransform, from_spacing, from_transform, to_transform
from pipeline.io.zarr.discover import ZarrArray

_HEADER = 540
"""Bytes of the longer of both headers of NIfTI."""
_MILLIMETERS = {"meter": 1e3, "centimeter": 10.0, "millimeter": 1.0, "micrometer": 1e-3, "nanometer": 1e-6}


def grid_of(found: ZarrArray, shape: tuple[int, ...], affine: str) -> Grid:
    """Return the grid of an array whose spatial axes have this `shape`; by default cells of 1 at the origin.

    `affine` is what holds where the sform and the qform of a NIfTI header in the store disagree.
    """
    return _volume(found, shape, affine) if len(shape) == 3 else _scene(found, shape)


def _scene(found: ZarrArray, shape: tuple[int, ...]) -> Grid:
    """A scene by its CF grid mapping, else by GeoZarr, else by coordinates, else without a place."""
    said: dict[str, Any] = {**(found.group.attrs if found.group is not None else {}), **found.array.attrs}
    mapping = _mapping(found)
    crs = mapping.get("crs_wkt") or mapping.get("spatial_ref") or said.get("proj:wkt2")
    crs = crs or (said.get("_CRS") or {}).get("wkt")
    transform = _geotransform(mapping) or said.get("spatial:transform") or _by_coordinates(found)
    corner = [float(number) for number in transform or (1, 0, 0, 0, 1, 0)]
    words = {"transform": transform and corner, "crs": crs, "area_or_point": "Area"}
    return Grid(shape, from_transform(corner), ("y", "x"), crs, {"gdal": words})


def _mapping(found: ZarrArray) -> dict[str, Any]:
    mapping = _neighbor(found, str(found.array.attrs.get("grid_mapping", "spatial_ref")))
    return dict(mapping.attrs) if mapping is not None else {}


def _geotransform(mapping: dict[str, Any]) -> list[float] | None:
    if "GeoTransform" not in mapping:
        return None
    return from_geotransform([float(word) for word in str(mapping["GeoTransform"]).split()])


def _by_coordinates(found: ZarrArray) -> list[float] | None:
    """The transform whose cell centers are the coordinates of the two last axes, if these are evenly spaced."""
    steps = [step for name in found.axes[-2:] if (step := _spacing(_neighbor(found, name)))]
    if len(steps) != 2:
        return None
    (top, down), (left, right) = steps
    return to_transform(from_spacing((down, right), (top, left)))


def _spacing(coordinates: zarr.Array[Any] | None) -> tuple[float, float] | None:
    """The first of evenly spaced coordinates, and their step."""
    if coordinates is None or coordinates.ndim != 1 or coordinates.size < 2 or coordinates.dtype.kind not in "iuf":
        return None
    values = np.asarray(coordinates[:], np.float64)
    step = (values[-1] - values[0]) / (len(values) - 1)
    even = np.allclose(np.diff(values), step, rtol=1e-3, atol=0) and step != 0
    return (float(values[0]), float(step)) if even else None


def _neighbor(found: ZarrArray, name: str) -> zarr.Array[Any] | None:
    array = found.group.get(name) if found.group is not None else None
    return array if isinstance(array, zarr.Array) else None


def _volume(found: ZarrArray, shape: tuple[int, ...], affine: str) -> Grid:
    """A volume by its NIfTI header, as nifti-zarr keeps it, else by OME-Zarr, else with cells of 1 mm."""
    header = _neighbor(found, "nifti")
    if header is not None and found.is_first and header.ndim == 1 and header.dtype.kind in "iu":
        from pipeline.io.volume.nifti_header import grid_in

        return grid_in(np.asarray(header[:_HEADER], np.uint8).tobytes(), shape, affine)
    scale, origin = np.ones(3), np.zeros(3)
    if found.image:
        image, level = found.image
        for step in [*level.get("coordinateTransformations", []), *image.get("coordinateTransformations", [])]:
            factor = np.asarray(step.get("scale", [1.0] * 3)[-3:])
            scale, origin = scale * factor, origin * factor + step.get("translation", [0.0] * 3)[-3:]
        units = [_millimeters(axis) for axis in image.get("axes", [])[-3:]] or 1.0
        scale, origin = scale * units, origin * units
    return Grid(shape, from_spacing(scale.tolist(), origin.tolist()), ("z", "y", "x"))


def _millimeters(axis: Any) -> float:  # noqa: ANN401  (a word in OME-Zarr 0.3, else a mapping)
    return _MILLIMETERS.get(axis.get("unit", ""), 1.0) if isinstance(axis, dict) else 1.0
