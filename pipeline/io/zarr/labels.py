"""Masks in Zarr 3: created empty (all nodata), to be filled slab by slab."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.codec import BytesBytesCodec
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.errors import ContainsGroupError

from pipeline.classes import ClassTable
from pipeline.errors import OutputError
from pipeline.geometry import Grid
from pipeline.geometry.affine import axis_coordinates, is_upright
from pipeline.io.tiles import TILE
from pipeline.io.zarr.attributes import (
    array_attributes,
    label_attributes,
    labels_attributes,
    root_attributes,
    spatial_ref,
)
from pipeline.io.zarr.deflate import DeflateCodec
from pipeline.io.zarr.overview import overview_arrays

CHUNK = {2: (1024, 1024), 3: (32, 256, 256)}
"""Shape of a chunk, by number of axes; slabs begin at multiples of its first side."""


_MASK, _LEVEL = "mask", "0"
_HEADER = "nifti"
"""Array with the bytes of a NIfTI header, as nifti-zarr has it."""


def mask_of(grid: Grid) -> str:
    """Return the name of the mask array: in OME-Zarr the level of a label in the group `labels`."""
    return _MASK if grid.is_scene else f"labels/{_MASK}/{_LEVEL}"


def create_labels(
    path: Path,
    grid: Grid,
    dtype: np.dtype[Any],
    *,
    nodata: int,
    classes: ClassTable,
    provenance: Mapping[str, Any],
    header: bytes = b"",
    checksums: bool = False,
    tiled: bool = False,
) -> None:
    """Create a store at `path` in which every cell of `grid` is nodata. `provenance` (JSON values) says how it is made.

    `header` is what a NIfTI file of the mask of a volume would begin with. For unfinished work, since not every reader
    of masks knows these codecs: with `checksums`, each chunk of labels ends with a CRC-32C, and with `tiled`, those of
    a scene are tiles of a GeoTIFF, see `tiles_of`, with those of the first overview beside them.
    """
    said = root_attributes(grid, mask_of(grid), nodata, classes, provenance)
    with creating(path):
        root = group = zarr.create_group(path, zarr_format=3, attributes=said)
        name = _MASK
        if not grid.is_scene:
            name = _LEVEL
            below = root.create_group("labels", attributes=labels_attributes(_MASK))
            group = below.create_group(_MASK, attributes=label_attributes(said, _LEVEL, classes, nodata))
            add_header(root, header)
            add_header(group, header)
        group.create_array(
            name,
            shape=grid.shape,
            chunks=(TILE, TILE) if tiled else chunks_of(grid.shape),
            dtype=dtype,
            compressors=compressors(checksums=checksums, tiled=tiled),
            fill_value=nodata,
            dimension_names=grid.axes,
            attributes=array_attributes(grid, nodata, classes),
        )
        if tiled:
            _add_overview(root, grid, dtype, nodata, checksums=checksums)
        if grid.is_scene:
            add_coordinates(root, grid)


def _add_overview(root: zarr.Group, grid: Grid, dtype: np.dtype[Any], nodata: int, *, checksums: bool) -> None:
    packed = compressors(checksums=checksums, tiled=True)
    for name, (shape, chunks) in overview_arrays(grid.shape).items():
        root.create_array(name, shape=shape, chunks=chunks, dtype=dtype, compressors=packed, fill_value=nodata)


def add_header(group: zarr.Group, header: bytes) -> None:
    """Add the bytes of a NIfTI header, if there are any."""
    if header:
        values = np.frombuffer(header, np.uint8)
        group.create_array(_HEADER, data=values, chunks=values.shape, compressors=None)


@contextmanager
def creating(path: Path) -> Iterator[None]:
    """Raise OutputError for errors while a store is created at `path`."""
    try:
        yield
    except (OSError, ContainsGroupError) as error:
        raise OutputError(f"{path}: cannot be created ({error}); remove it, or give another --output") from error


def chunks_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the chunk shape of an array of `shape`: the usual one, clipped to the array."""
    return tuple(min(side, size) for side, size in zip(CHUNK[len(shape)], shape, strict=True))


def compressors(*, checksums: bool, tiled: bool = False) -> tuple[BytesBytesCodec, ...]:
    """Return how chunks are compressed, and whether they end with a checksum."""
    return (DeflateCodec() if tiled else ZstdCodec(level=1), *((Crc32cCodec(),) if checksums else ()))


def add_coordinates(root: zarr.Group, grid: Grid) -> None:
    """Add the georeference of a scene, and x and y of its cells where each is a vector."""
    root.create_array("spatial_ref", shape=(), dtype=np.int64, fill_value=0, attributes=spatial_ref(grid))
    if not is_upright(grid.affine):
        return
    for axis, (name, word) in enumerate((("y", "latitude"), ("x", "longitude"))):
        centers = axis_coordinates(grid.affine, axis, grid.shape[axis])
        geographic = grid.crs is not None and grid.crs.startswith(("GEOGCS", "GEOGCRS"))
        standard = word if geographic else f"projection_{name}_coordinate"
        array = root.create_array(
            name,
            shape=centers.shape,
            chunks=(min(len(centers), 65536),),
            dtype=np.float64,
            dimension_names=(name,),
            attributes={"standard_name": standard, "axis": name.upper()},
        )
        array[:] = centers
