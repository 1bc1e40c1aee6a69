"""Square tiles of labels in the bytes that TIFF has them in, which are also those of chunks in a work store."""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

TILE = 512
"""Cells along a side of a tile: GDAL's own choice for Cloud Optimized GeoTIFFs."""
EDGES = 6
"""Rows and columns that `edges_of` returns."""
_WELL = 24
"""How much smaller a tile gets if its runs pack it well."""


class Tail(NamedTuple):
    """What identifies a packed tile."""

    size: int
    """Bytes."""
    checksum: int


class Packed(NamedTuple):
    """A tile as `pack` made it."""

    content: bytes
    checksum: int

    @property
    def tail(self) -> Tail:
        """What identifies it."""
        return Tail(len(self.content), self.checksum)


class Tiles(Protocol):
    """Labels of a scene in compressed tiles; those at the right and the bottom are filled up with nodata."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns of the scene."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the labels, little-endian."""
        ...

    @property
    def overview(self) -> Overview | None:
        """The first overview, if it is there already."""
        ...

    def tail(self, row: int, column: int) -> Tail | None:
        """Return what identifies a tile, without reading it all; None if it is nodata alone.

        Raises:
            DamagedError: It cannot be read.

        """
        ...

    def packed(self, row: int, column: int) -> Packed | None:
        """Return a tile, checked; None if it is nodata alone.

        Raises:
            DamagedError: It is not as it was written.

        """
        ...


class Overview(Tiles, Protocol):
    """The first overview of a scene, each tile of which is made of a block of 2 x 2 tiles, and of no other cell."""

    def edges(self, row: int, column: int) -> NDArray[Any]:
        """Return the edges of the block of a tile, as `edges_of` does.

        Raises:
            DamagedError: They are not as they were written.

        """
        ...


def edges_of(block: NDArray[Any], nodata: int) -> NDArray[Any]:
    """Return the first two and last rows and columns of a block, padded with nodata."""
    edges = np.full((EDGES, 2 * TILE), nodata, block.dtype)
    for side, cells in ((0, block), (EDGES // 2, block.T)):
        for at, row in enumerate((0, 1, 2 * TILE - 1)):
            edges[side + at, : cells.shape[1]] = cells[row] if row < len(cells) else nodata
    return edges


def pack(tile: NDArray[Any]) -> bytes:
    """Return the zlib stream of a tile, which TIFF calls Deflate.

    Most tiles of labels are little but runs, and are quickly packed by looking for nothing else. Where that does not
    pack well, or labels have several bytes, so that none equals the one before, repetitions are looked for, too.
    """
    cells = np.ascontiguousarray(tile).data
    if tile.itemsize > 1:
        return zlib.compress(cells)
    packer = zlib.compressobj(strategy=zlib.Z_RLE)
    runs = packer.compress(cells) + packer.flush()
    return runs if len(runs) * _WELL <= tile.nbytes else min(runs, zlib.compress(cells), key=len)


def unpack(packed: bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the tile in a zlib stream.

    Raises:
        zlib.error: It is damaged: the stream has a checksum of its own.

    """
    return np.frombuffer(zlib.decompress(packed, bufsize=TILE * TILE * dtype.itemsize), dtype).reshape(TILE, TILE)
