"""Write label volumes as MetaImage (`.mha`) in one forward pass."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.files.atomic import atomic_write
from pipeline.geometry import Grid
from pipeline.geometry.affine import to_directions
from pipeline.io.volume.voxels import filling

_TYPES = {"uint8": "MET_UCHAR", "uint16": "MET_USHORT"}
_LPS = (-1, -1, 1)
_DIGITS = 20
"""Places that are kept for the size of the packed voxels, which is known when they are written."""


def write_metaimage(
    path: Path,
    grid: Grid,
    slabs: Iterable[NDArray[Any]],
    dtype: np.dtype[Any],
    *,
    before: Callable[[], None] = lambda: None,
) -> None:
    """Write a label volume from `slabs` of shape `(n, y, x)`, which follow each other along z and fill `grid`.

    Coordinates are LPS, as ITK has them; voxels are packed by zlib. The same labels are the same bytes. The file
    appears when it is whole, after `before` was called.

    Raises:
        OutputError: The slabs do not fill the grid, or the file cannot be written.

    """
    stored = np.dtype(dtype).newbyteorder("<")
    with atomic_write(path, before) as temporary, temporary.open("wb") as file:
        first, last = _header(grid, stored)
        file.write(first + b" " * _DIGITS + last)
        size = _pack(file, filling(path, grid.shape, slabs, stored))
        file.seek(len(first))
        file.write(str(size).encode())


def _pack(file: BufferedIOBase, pieces: Iterable[NDArray[np.uint8]]) -> int:
    """Write packed bytes, and return how many they are."""
    packer = zlib.compressobj(1)
    size = sum(file.write(packer.compress(piece.data)) for piece in pieces)
    return size + file.write(packer.flush())


def _header(grid: Grid, stored: np.dtype[Any]) -> tuple[bytes, bytes]:
    """The header before and after the size of the packed voxels."""
    directions, origin = to_directions(grid.affine, _LPS)
    spacing = np.linalg.norm(directions, axis=1)
    first = "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = True\n"
    fields = {
        "TransformMatrix": _words((directions / spacing[:, None]).ravel()),
        "Offset": _words(origin),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": _words(spacing),
        "DimSize": " ".join(map(str, reversed(grid.shape))),
        "ElementType": _TYPES[stored.name],
        "ElementDataFile": "LOCAL",
    }
    lines = "".join(f"{key} = {value}\n" for key, value in fields.items())
    return f"{first}CompressedDataSize = ".encode(), f"\n{lines}".encode()


def _words(numbers: NDArray[np.float64]) -> str:
    return " ".join(repr(float(number)) for number in numbers)
