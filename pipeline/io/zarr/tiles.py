"""The chunks of a work store as the tiles of a GeoTIFF: the same bytes, without the checksum behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.engine import Source
from pipeline.io.tiles import Packed, Tail
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
    overview: StoredTiles | None = None
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
    above = store.overview
    overview = above and StoredTiles(above.shape, store.dtype, above.chunk_file)
    return StoredTiles(store.whole.stop, store.dtype, store.chunk_file, overview)
