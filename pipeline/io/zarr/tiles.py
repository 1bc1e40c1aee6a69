"""The chunks of a work store as the tiles of a GeoTIFF: the same bytes, without the checksum behind them."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine import Source
from pipeline.io.tiles import EDGES, TILE, Packed, Tail
from pipeline.io.zarr.deflate import read_tail, read_tile
from pipeline.io.zarr.work import WorkSource
from pipeline.io.zarr.writer import SlabStore


@dataclass(frozen=True)
class StoredTiles:
    """The tiles of the labels in a work store, or of their overview; see `pipeline.io.tiles.Tiles`."""

    shape: tuple[int, ...]
    """Rows and columns."""
    dtype: np.dtype[Any]
    """Type of the labels."""
    chunk_file: Callable[[tuple[int, ...]], Path]
    overview: StoredOverview | None
    """The first overview, if it is stored."""

    def tail(self, row: int, column: int) -> Tail | None:
        """Return what identifies a tile; None if it is nodata alone, and not stored.

        Raises:
            DamagedError: It cannot be read.

        """
        return read_tail(self.chunk_file((row, column)))

    def packed(self, row: int, column: int) -> Packed | None:
        """Return a tile; None if it is nodata alone, and not stored.

        Raises:
            DamagedError: Its checksum is of another one.

        """
        return read_tile(self.chunk_file((row, column)))


@dataclass(frozen=True)
class StoredOverview(StoredTiles):
    """The first overview in a work store; see `pipeline.io.tiles.Overview`."""

    edges_file: Callable[[tuple[int, ...]], Path]
    nodata: int

    def edges(self, row: int, column: int) -> NDArray[Any]:
        """Return the edges of the block of a tile.

        Raises:
            DamagedError: Their checksum is of others.

        """
        packed = read_tile(self.edges_file((row, column)))
        if packed is None:
            return np.full((EDGES, 2 * TILE), self.nodata, self.dtype)
        return np.frombuffer(zlib.decompress(packed.content), self.dtype).reshape(EDGES, 2 * TILE)


def tiles_of(labels: Source) -> StoredTiles | None:
    """Return the tiles that labels are read from.

    None if they are not those of a work store as they are, or its chunks are no tiles, as in earlier versions.

    Raises:
        DamagedError: The store cannot be opened.

    """
    if not isinstance(labels, WorkSource):
        return None
    store = SlabStore(labels.path)
    return _tiles(store) if store.tiled else None


def _tiles(store: SlabStore) -> StoredTiles:
    return StoredTiles(store.whole.stop, store.dtype, store.chunk_file, _overview_of(store))


def _overview_of(store: SlabStore) -> StoredOverview | None:
    kept = store.overview
    if kept is None:
        return None
    return StoredOverview(kept.shape, store.dtype, kept.tile_file, None, kept.edges_file, kept.nodata)
