"""Write NIfTI files in one forward pass, with the geometry of the input's header."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pipeline.errors import OutputError
from pipeline.files.atomic import atomic_write
from pipeline.geometry import Grid
from pipeline.geometry.affine import to_ijk
from pipeline.io.volume.nifti_header import KINDS, Header, describes, header_of
from pipeline.io.volume.nifti_text import put_text
from pipeline.io.volume.voxels import filling, gzipped

_ALIGNED = 2
_LABEL = 1002
_NO_EXTENSION = bytes(4)
_WRITTEN = (np.dtype("u1"), np.dtype("<u2"), np.dtype("<i2"))
_LENGTH = 7
"""Bits of `xyzt_units` for the unit of length; the others are for that of the fourth dimension."""


def write_nifti(
    path: Path,
    grid: Grid,
    slabs: Iterable[NDArray[Any]],
    dtype: DTypeLike,
    *,
    description: str = "",
    before: Callable[[], None] = lambda: None,
) -> None:
    """Write a label volume from `slabs` of shape `(n, y, x)`, which follow each other along z and fill `grid`.

    `dtype` is uint8 or uint16, or int16 for an image instead of labels. A grid that was read from NIfTI gets its
    geometry back, field by field; any other gets its affine as sform. Text of the input is carried over only where it
    was kept on reading, and takes precedence over `description`. A name that ends in `.gz` is compressed, at
    level 1 and without time or name: the same labels are the same bytes. The file appears when it is whole, after
    `before` was called.

    Raises:
        OutputError: The slabs do not fill the grid, or the file cannot be written.

    """
    stored = np.dtype(dtype).newbyteorder("<")
    if stored not in _WRITTEN:
        raise OutputError(f"{path}: labels are written as uint8 or uint16, not {np.dtype(dtype)}; convert them first")
    _write(path, grid, slabs, stored, description=description, before=before)


def write_nifti_layer(
    path: Path,
    grid: Grid,
    slabs: Iterable[NDArray[np.float32]],
    volumes: int,
    before: Callable[[], None] = lambda: None,
) -> None:
    """Write float32 values on `grid` like labels; several `volumes` follow each other, and make a 4-D file.

    Raises:
        OutputError: The slabs do not fill the volumes, or the file cannot be written.

    """
    _write(path, grid, slabs, np.dtype("<f4"), volumes=volumes, before=before)


def _write(
    path: Path,
    grid: Grid,
    slabs: Iterable[NDArray[Any]],
    stored: np.dtype[Any],
    *,
    before: Callable[[], None],
    volumes: int = 1,
    description: str = "",
) -> None:
    if grid.is_scene:
        raise OutputError(f"{path}: NIfTI holds volumes, not a scene of shape {grid.shape}; write .tif or .zarr")
    header = _complete(grid, stored, (volumes,) if volumes > 1 else ())
    header["descrip"] = description.encode("ascii", "replace")[:79]
    after = put_text(grid.reference.get("nifti", {}), header)
    with (
        atomic_write(path, before) as temporary,
        temporary.open("wb") as file,
        gzipped(file, path.suffix.lower() == ".gz") as out,
    ):
        out.write(header.binaryblock + after)
        for slab in filling(path, (volumes * grid.shape[0], *grid.shape[1:]), slabs, stored):
            out.write(slab.data)


def header_block(
    grid: Grid, dtype: DTypeLike, *, channels: int = 1, scaling: tuple[float, float] | None = None
) -> bytes:
    """Return the header of a NIfTI file on `grid`, without any text: of labels, or of a layer of scaled values.

    Several channels are the fifth dimension, as nifti-zarr has them.
    """
    header = _complete(grid, np.dtype(dtype).newbyteorder("<"), (1, channels) if channels > 1 else ())
    if scaling is not None:
        _scale(header, scaling)
    return bytes(header.binaryblock)


def nifti_bytes(grid: Grid, values: NDArray[Any], scaling: tuple[float, float] | None = None) -> bytes:
    """Return a NIfTI file of `values` `(z, y, x)`, unpacked and without any text: labels, or values to be scaled."""
    stored = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    header = _complete(grid, stored.dtype)
    header["vox_offset"] = header.single_vox_offset
    if scaling is not None:
        _scale(header, scaling)
    return bytes(header.binaryblock) + bytes(4) + stored.tobytes()


def image_header(grid: Grid, dtype: DTypeLike) -> bytes:
    """Return all that comes before the voxels in a NIfTI file of an image on `grid`; its affine is the sform alone."""
    header = _complete(replace(grid, reference={}), np.dtype(dtype).newbyteorder("<"))
    header["intent_code"] = 0
    header["vox_offset"] = len(header.binaryblock) + len(_NO_EXTENSION)
    return bytes(header.binaryblock) + _NO_EXTENSION


def _scale(header: Header, scaling: tuple[float, float]) -> None:
    """Set the scale and offset of values, which then are no labels."""
    header["scl_slope"], header["scl_inter"] = scaling
    header["intent_code"] = 0


def _complete(grid: Grid, stored: np.dtype[Any], further: tuple[int, ...] = ()) -> Header:
    """A header of voxels of this type; `further` are the lengths of dimensions after those of the grid."""
    header = _header_of(grid)
    if further:
        ends = len(further) + 4
        header["dim"][[0, *range(4, ends)]] = ends - 1, *further
        header["pixdim"][4:ends] = 1
        header["xyzt_units"] &= _LENGTH
    header.set_data_dtype(stored)
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["intent_code"] = _LABEL if stored.kind == "u" else 0
    return header


def _header_of(grid: Grid) -> Header:
    """A new header, little-endian, with the geometry of `grid`: the words it was read with, where they still hold."""
    words = grid.reference.get("nifti")
    if words:
        header = header_of(words)
        if describes(header, grid, words.get("form", "sform")):
            return header
    header = KINDS[max(grid.shape) > np.iinfo(np.int16).max](endianness="<")
    header.set_data_shape(grid.shape[::-1])
    header.set_zooms(grid.spacing[::-1])
    header.set_xyzt_units("mm")
    # "Aligned" claims the least: these are coordinates of some other file's world. "Scanner" would claim a machine's.
    header.set_sform(to_ijk(grid.affine), code=_ALIGNED)
    return header
