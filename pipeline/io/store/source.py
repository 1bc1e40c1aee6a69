"""A Zarr array as an input: our own masks, CF and GeoZarr scenes, OME-Zarr volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.classes import ClassTable, table_of
from pipeline.engine import Pixels
from pipeline.errors import InputError
from pipeline.geometry import Box, Grid
from pipeline.io.store.attributes import OURS, grid_from_json

_CHANNEL = ("band", "bands", "c", "channel", "channels")


class ZarrSource:
    """An array of a Zarr store, or of a group in it, as an input.

    Axes are known from our own record, OME-Zarr, dimension names, or being two.
    """

    def __init__(self, path: str | Path) -> None:
        """Open `path`, the store itself or an array or group in it."""
        self.path = str(path)
        try:
            node = zarr.open(self.path, mode="r")
        except (FileNotFoundError, ValueError, KeyError, OSError) as error:
            raise InputError(f"{path}: not a Zarr store ({error})") from error
        self._array, attributes = self._find(node)
        ours = attributes.get(OURS)
        self.classes: ClassTable = table_of(ours["classes"]) if ours else ()
        self.made: dict[str, Any] = ours["made"] if ours else {}
        names = tuple(self._array.metadata.dimension_names or ()) if self._array.metadata.zarr_format == 3 else ()
        self._leading = self._channel_axis(names)
        shape = self._array.shape[self._leading :]
        self.grid = grid_from_json(ours["grid"]) if ours else _grid(node, attributes, dict(self._array.attrs), shape)
        self._lead = (slice(None),) * self._leading
        self.channels = self._array.shape[0] if self._leading else 1
        self.dtype = np.dtype(self._array.dtype)
        self.block = tuple(self._array.chunks[self._leading :])
        missing = self._array.attrs.get("_FillValue")
        self.nodata: Any = ours["nodata"] if ours else missing

    def read(self, box: Box) -> Pixels:
        """Pixels of `box`."""
        try:
            values = np.asarray(self._array[self._lead + box.slices])
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"{self.path}, rows {box.start[0]} to {box.stop[0]}: cannot be read ({error})") from error
        values = values if self._leading else values[None]
        return Pixels(values, self._valid(values))

    def close(self) -> None:
        """Nothing is held open."""

    def _find(self, node: zarr.Array[Any] | zarr.Group) -> tuple[zarr.Array[Any], dict[str, Any]]:
        attributes: dict[str, Any] = dict(node.attrs)
        if isinstance(node, zarr.Array):
            return node, attributes
        multiscales: Any = (attributes.get("ome") or attributes).get("multiscales")
        if OURS in attributes:
            name = attributes[OURS]["array"]
        elif multiscales:
            name = multiscales[0]["datasets"][0]["path"]
        else:
            images = [key for key, array in node.arrays() if array.ndim >= 2]
            if len(images) != 1:
                raise InputError(f"{self.path}: holds the arrays {images}; name one of them, as {self.path}/<array>")
            name = images[0]
        found = node[name]
        if not isinstance(found, zarr.Array):
            raise InputError(f"{self.path}/{name}: is a group; name an array in it")
        return found, attributes

    def _channel_axis(self, names: tuple[str | None, ...]) -> int:
        """Whether (1) or not (0) the first axis is of channels."""
        ndim = self._array.ndim
        if ndim == 2 or (ndim == 3 and names and names[0] not in _CHANNEL):
            return 0
        if ndim in (3, 4) and names and names[0] in _CHANNEL:
            return 1
        raise InputError(
            f"{self.path}: an array of shape {self._array.shape} with the dimensions {names or 'unnamed'}; "
            "needed are (y, x), (band, y, x), (z, y, x) or (c, z, y, x), by their dimension names"
        )

    def _valid(self, values: NDArray[Any]) -> NDArray[np.bool_] | None:
        parts = [np.isfinite(values).all(axis=0)] if values.dtype.kind == "f" else []
        if self.nodata is not None and not (isinstance(self.nodata, float) and np.isnan(self.nodata)):
            parts.append((values != self.nodata).any(axis=0))
        valid: NDArray[np.bool_] | None = np.logical_and.reduce(parts) if parts else None
        return None if valid is None or valid.all() else valid


def _grid(
    node: zarr.Array[Any] | zarr.Group, attributes: dict[str, Any], array: dict[str, Any], shape: tuple[int, ...]
) -> Grid:
    if len(shape) == 3:
        return _volume(attributes, shape)
    mapping: dict[str, Any] = {}
    if isinstance(node, zarr.Group):
        name = array.get("grid_mapping", "spatial_ref")
        mapping = dict(node[name].attrs) if name in node else {}
    return _scene({**attributes, **array}, mapping, shape)


def _scene(attributes: dict[str, Any], mapping: dict[str, Any], shape: tuple[int, ...]) -> Grid:
    """A scene by its CF grid mapping, else by GeoZarr, else without a place."""
    crs = mapping.get("crs_wkt") or mapping.get("spatial_ref") or attributes.get("proj:wkt2")
    crs = crs or (attributes.get("_CRS") or {}).get("wkt")
    transform = attributes.get("spatial:transform")
    if "GeoTransform" in mapping:
        c, a, b, f, d, e = map(float, str(mapping["GeoTransform"]).split())
        transform = [a, b, c, d, e, f]
    a, b, c, d, e, f = transform or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    affine = ((b, a, c + (a + b) / 2), (e, d, f + (d + e) / 2), (0.0, 0.0, 1.0))
    words = {"transform": transform, "crs": crs}
    return Grid(shape, affine, ("y", "x"), crs, {"gdal": words})


def _volume(attributes: dict[str, Any], shape: tuple[int, ...]) -> Grid:
    """A volume by its OME-Zarr scale and translation, else with cells of 1 mm."""
    scale, translation = [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]
    multiscales = (attributes.get("ome") or attributes).get("multiscales") or []
    for step in multiscales[0]["datasets"][0].get("coordinateTransformations", []) if multiscales else []:
        scale = list(step.get("scale", scale))[-3:]
        translation = list(step.get("translation", translation))[-3:]
    rows = tuple(
        (*(scale[axis] if axis == 2 - row else 0.0 for axis in range(3)), translation[2 - row]) for row in range(3)
    )
    return Grid(shape, (*rows, (0.0, 0.0, 0.0, 1.0)), ("z", "y", "x"))
