"""The first overview of the labels in a work store, made slab by slab: tiles like those of the labels, half as many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from itertools import product
from pathlib import Path
from typing import Any

import zarr
from numpy.typing import NDArray

from pipeline.geometry import Box
from pipeline.io.majority import halve
from pipeline.io.tiles import TILE
from pipeline.io.zarr.deflate import read_tile, write_tile

OVERVIEW = "overview"
"""Name of the array in a store."""
BLOCK = 2 * TILE
"""Cells along a side of what a tile of the overview is made of: slabs that are written end at multiples of it."""


def overview_shape(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the shape of the overview that is stored for labels of `shape`; None if none is.

    Labels that fit a tile have no overview. Along a side with an odd number of cells, the windows of an overview
    overlap, so that its tiles would need cells of several slabs.
    """
    if max(shape) <= TILE or any(side % 2 for side in shape):
        return None
    return tuple(side // 2 for side in shape)


class Overview:
    """The overview in a store that is open for writing."""

    def __init__(self, folder: Path, array: zarr.Array[Any]) -> None:
        """Take the array that `create_labels` made, whose files are in `folder`."""
        self.folder = folder
        self.shape: tuple[int, ...] = array.shape
        self._nodata = int(array.fill_value)  # type: ignore[call-overload]

    def chunk_files(self, slab: Box) -> Iterator[Path]:
        """Return the files of the tiles that are made of cells of a slab of the labels, in order."""
        return map(self.chunk_file, _blocks(slab))

    def chunk_file(self, index: tuple[int, ...]) -> Path:
        """Return the file of a tile, whether it is stored or not."""
        return self.folder.joinpath("c", *map(str, index))

    def write(self, slab: Box, values: NDArray[Any], pool: Executor) -> None:
        """Write the overview of the labels of a slab."""
        list(pool.map(self._writing(slab, values), _blocks(slab)))

    def _writing(self, slab: Box, values: NDArray[Any]) -> Callable[[tuple[int, ...]], None]:
        def write(index: tuple[int, ...]) -> None:
            block = Box(tuple(at * BLOCK for at in index), tuple((at + 1) * BLOCK for at in index)).clip(slab)
            write_tile(
                self.chunk_file(index), halve(values[block.within(slab.start).slices], self._nodata), self._nodata
            )

        return write

    def read_through(self, slab: Box) -> None:
        """Check the checksum of every stored tile of a slab; raises DamagedError."""
        for file in self.chunk_files(slab):
            read_tile(file)


def _blocks(slab: Box) -> Iterable[tuple[int, ...]]:
    sides = zip(slab.start, slab.stop, strict=True)
    return product(*(range(start // BLOCK, -(-stop // BLOCK)) for start, stop in sides))
