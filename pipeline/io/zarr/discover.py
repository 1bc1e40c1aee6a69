"""Find the array of a store, its axes, and its metadata."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr

from pipeline.errors import InputError
from pipeline.io.address import name_of
from pipeline.io.zarr.attributes import OURS
from pipeline.io.zarr.location import group_above, open_node

_CHANNEL = ("band", "bands", "c", "channel", "channels", "wavelength")
_DEPTH = ("z", "depth", "slice", "plane")
_ACROSS = ("x", "lon", "longitude", "easting", "column")


@dataclass(frozen=True)
class ZarrArray:
    """An array, and its group."""

    array: zarr.Array[Any]
    group: zarr.Group | None
    name: str
    """Name of the array in its group."""

    @property
    def record(self) -> dict[str, Any] | None:
        """The record that this package wrote with the array, if it did."""
        record: Any = self.group.attrs.get(OURS) if self.group is not None else None
        ours = isinstance(record, dict) and record.get("version") == 1 and record.get("array") == self.name
        return record if ours else None

    @property
    def image(self) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
        """The OME-Zarr image that the array is a level of, and that level; None without one."""
        for image in _multiscales(self.group):
            for level in image["datasets"]:
                if level["path"] == self.name:
                    return image, level
        return None

    @property
    def is_first(self) -> bool:
        """Whether the array is the finest level of an image."""
        return self.image is not None and self.image[0]["datasets"][0]["path"] == self.name

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the array's axes, by OME-Zarr, Zarr 3 or xarray; empty where unknown."""
        if self.image and "axes" in self.image[0]:
            return tuple(_axis_name(axis) for axis in self.image[0]["axes"])
        metadata = self.array.metadata
        named: Any = self.array.attrs.get("_ARRAY_DIMENSIONS")
        named = metadata.dimension_names if metadata.zarr_format == 3 else named
        return tuple(named) if named and all(named) else ()

    @property
    def nodata(self) -> float | None:
        """The value of cells without an observation: `_FillValue`, which xarray and GDAL keep elsewhere in Zarr 2."""
        value: Any = self.array.attrs.get("_FillValue")
        if self.array.metadata.zarr_format == 2 and "_ARRAY_DIMENSIONS" in self.array.attrs:
            value = self.array.fill_value if value is None else value
        return _number(value)


def find(path: str) -> ZarrArray:
    """Return the array at `path`, or the only or first one of the group there.

    Raises:
        InputError: There is none, or the choice is ambiguous.

    """
    node = open_node(path)
    if isinstance(node, zarr.Array):
        return ZarrArray(node, group_above(path), name_of(path))
    name = _array_name(path, node)
    found = node.get(name)
    if not isinstance(found, zarr.Array):
        raise InputError(f"{path}: has no array {name!r}, which its attributes name; fetch or write it again")
    return ZarrArray(found, node, name)


def split_axes(path: str, shape: tuple[int, ...], axes: tuple[str, ...]) -> tuple[tuple[int | slice, ...], int]:
    """Return the index of the axes before the spatial ones, at most one of which is channels, and the number of these.

    Raises:
        InputError: The axes are not those of one scene or volume.

    """
    names = tuple(name.lower() for name in axes)
    spatial = 3 if names[-3:-2] and names[-3] in _DEPTH else 2
    lead = tuple(slice(None) if name in _CHANNEL else 0 for name in names[:-spatial])
    if not _is_one_image(shape, names, spatial) or lead.count(slice(None)) > 1:
        raise InputError(
            f"{path}: an array of shape {shape} with the dimensions {axes or 'unnamed'}; expected (y, x), "
            "(band, y, x), (z, y, x) or (c, z, y, x), others of size 1 before them, by their dimension names"
        )
    return lead, spatial


def _is_one_image(shape: tuple[int, ...], names: tuple[str, ...], spatial: int) -> bool:
    """Whether the axes before the `spatial` ones are channels or of size 1, and rows come before columns."""
    before = zip(names[:-spatial], shape, strict=False)
    known = len(names) == len(shape) >= spatial or (not names and len(shape) == 2)
    turned = len(names) > 1 and names[-2] in _ACROSS
    return known and not turned and all(size <= 1 or name in _CHANNEL for name, size in before)


def _array_name(path: str, group: zarr.Group) -> str:
    record: Any = group.attrs.get(OURS)
    if isinstance(record, dict) and "array" in record:
        return str(record["array"])
    for image in _multiscales(group):
        return str(image["datasets"][0]["path"])
    images = [key for key, array in group.arrays() if array.ndim >= 2]
    if len(images) != 1:
        inside = images or [f"{key}/" for key in group.group_keys()] or "no arrays"
        raise InputError(f"{path}: holds {inside}; name one of its arrays: {path}/<array>")
    return images[0]


def _multiscales(group: zarr.Group | None) -> Any:  # noqa: ANN401  (JSON of any kind)
    attributes: Any = dict(group.attrs) if group is not None else {}
    return attributes.get("ome", attributes).get("multiscales", [])


def _axis_name(axis: Any) -> str:  # noqa: ANN401  (a word in OME-Zarr 0.3, else a mapping)
    if isinstance(axis, str):
        return axis
    return "c" if axis.get("type") == "channel" else str(axis["name"])


def _number(value: Any) -> float | None:  # noqa: ANN401  (JSON of any kind)
    """A fill value as CF, Zarr ("NaN") or xarray (base64) write it; integers stay integers."""
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, str):
        return None if value is None else value if isinstance(value, int) else float(value)
    try:
        return float(value)
    except ValueError:
        return float(struct.unpack("<d", base64.b64decode(value))[0])
