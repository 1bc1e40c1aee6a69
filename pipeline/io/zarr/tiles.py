"""The chunks of a work store as the tiles of a GeoTIFF: the same bytes, without the checksum behind them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from pipeline.engine import Source
from pipeline.io.zarr.deflate import read_tile
from pipeline.io.zarr.work import WorkSource
from pipeline.io.zarr.writer import SlabStore


class StoredTiles:
    """The tiles of the labels in a work store; see `pipeline.io.tiles.Tiles`."""

    def __init__(self, store: SlabStore) -> None:
        """Take the chunks of a store that was created with `tiled`."""
        self._store = store

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the scene."""
        rows, columns = self._store.whole.stop
        return rows, columns

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the labels."""
        return self._store.dtype

    def packed(self, row: int, column: int) -> bytes | None:
        """Return a tile as it is compressed; None if it is nodata alone, and not stored.

        Raises:
            DamagedError: Its checksum is of another one.

        """
        return read_tile(self._store.chunk_file((row, column)))


def tiles_of(labels: Source) -> StoredTiles | None:
    """Return the tiles that labels are read from.

    None if they are not those of a work store as they are, or its chunks are no tiles, as in earlier versions.

    Raises:
        DamagedError: The store cannot be opened.

    """
    if not isinstance(labels, WorkSource):
        return None
    store = SlabStore(labels.path)
    return StoredTiles(store) if store.tiled else None
