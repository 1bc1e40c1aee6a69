"""What NRRD and MetaImage have in common: voxels one after the other, x fastest, and a direction for each axis."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.geometry import Grid
from pipeline.geometry.affine import from_directions, is_flat
from pipeline.io.remote_files import File, size_of
from pipeline.io.volume.stream import ByteStream, NiftiSource, Packing, VoxelLayout, open_stream


@dataclass(frozen=True)
class RawVolumeHeader:
    """The header of an NRRD or MetaImage volume."""

    data: File
    """File that holds the voxels."""
    start: tuple[int, int]
    """Bytes of it before the voxels: those of the header, and those that it says are to be skipped.

    Of the second, -1: the voxels are the end of the file."""
    packing: Packing
    stored: np.dtype[Any]
    shape: tuple[int, int, int]
    """Slices, rows, columns."""
    directions: NDArray[np.float64]
    """Step of each axis in millimeters, `(3, 3)`: that of columns, rows, slices."""
    origin: NDArray[np.float64]
    """Center of the first voxel."""
    signs: tuple[int, int, int]
    """What coordinates are multiplied with to be RAS+."""


def open_raw(path: File, plain: RawVolumeHeader) -> NiftiSource:
    """Open the volume at `path` whose header is `plain`.

    Raises:
        InputError: The header is invalid, or the data are missing or too short.

    """
    try:
        grid, stream = _grid(plain), _stream(plain)
    except InputError as error:
        raise error.at(path) from None
    return NiftiSource(path, stream, grid, VoxelLayout(plain.stored, 0, None))


def _stream(plain: RawVolumeHeader) -> ByteStream:
    header, skipped = plain.start
    needed = prod(plain.shape) * plain.stored.itemsize
    try:
        size = size_of(plain.data)
        if skipped == -1 and plain.packing == "raw":
            header, skipped = max(0, size - needed), 0
        elif skipped < 0 or (skipped and plain.packing != "raw"):
            raise InputError(f"skips {skipped} bytes before packed voxels, which is not supported; write it again")
        stream = open_stream(plain.data, header + skipped, plain.packing)
    except OSError as error:
        raise InputError(
            f"its voxels in {plain.data.name} cannot be opened ({error.strerror}); keep both files in one folder"
        ) from None
    if needed > stream.most:
        stream.close()
        raise InputError(
            f"needs {needed} bytes for its shape {plain.shape}, but {plain.data.name} holds "
            f"{'at most ' * stream.packed}{stream.most}; fetch it again from where it came"
        )
    try:
        stream.expect(needed)
    except InputError:
        stream.close()
        raise
    return stream


def _grid(plain: RawVolumeHeader) -> Grid:
    if plain.directions.shape != (3, 3) or plain.origin.shape != (3,):
        raise InputError("has no direction of three numbers for each of its axes; write it again with its geometry")
    finite = np.isfinite(plain.directions).all() and np.isfinite(plain.origin).all()
    if not finite or not np.linalg.norm(plain.directions, axis=1).all():
        raise InputError(f"has directions that are not finite, or 0: {plain.directions.tolist()}; correct them")
    if is_flat(plain.directions.T):
        raise InputError(f"has directions that fold it flat: {plain.directions.tolist()}; correct them")
    if min(plain.shape) < 1:
        raise InputError(f"has the impossible shape {plain.shape}; its header is damaged")
    return Grid(plain.shape, from_directions(plain.directions, plain.origin, plain.signs), ("z", "y", "x"))
