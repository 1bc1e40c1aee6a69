"""The first overview of the labels in a work store, made slab by slab: tiles like those of the labels.

Each tile is made of a block of cells, and of no other cell. Along a side with an odd number of cells, windows reach one
cell into the block before: there the overview is not right yet, and the edges of blocks are stored, to mend it by.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr
from numpy.typing import NDArray

from pipeline.geometry import Box
from pipeline.io.majority import halve
from pipeline.io.tiles import EDGES, TILE, edges_of
from pipeline.io.zarr.deflate import read_tile, write_chunk, write_tile

BLOCK = 2 * TILE
"""Cells along a side of a block: slabs that are written end at multiples of it."""
_AT_ONCE = 2
"""Blocks that are halved at the same time."""
_OVERVIEW, _EDGES = "overview", "edges"
"""Names of arrays in a store."""


class Layout(NamedTuple):
    """How an array is stored."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]


def overview_arrays(shape: tuple[int, ...]) -> dict[str, Layout]:
    """Return how the arrays of the overview are stored for labels of `shape`, by name.

    Labels that fit a tile have no overview.
    """
    if max(shape) <= TILE:
        return {}
    arrays = {_OVERVIEW: Layout(tuple(-(-side // 2) for side in shape), (TILE, TILE))}
    if any(side % 2 for side in shape):
        blocks = tuple(-(-side // BLOCK) for side in shape)
        arrays[_EDGES] = Layout((EDGES * blocks[0], BLOCK * blocks[1]), (EDGES, BLOCK))
    return arrays


@dataclass(frozen=True)
class Overview:
    """The overview in a store that is open for writing."""

    store: Path
    labels: tuple[int, ...]
    """Shape of the labels."""
    nodata: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        return overview_arrays(self.labels)[_OVERVIEW].shape

    @property
    def folders(self) -> list[Path]:
        """The folders of its arrays."""
        return [self.store / name for name in overview_arrays(self.labels)]

    def chunk_files(self, slab: Box) -> Iterator[Path]:
        """Return the files of all that is made of cells of a slab of the labels, in order."""
        return (_chunk(folder, index) for folder in self.folders for index in _blocks(slab))

    def tile_file(self, index: tuple[int, ...]) -> Path:
        """Return the file of a tile, whether it is stored or not."""
        return _chunk(self.store / _OVERVIEW, index)

    def edges_file(self, index: tuple[int, ...]) -> Path:
        """Return the file of the edges of a block, whether it is stored or not."""
        return _chunk(self.store / _EDGES, index)

    def write(self, slab: Box, values: NDArray[Any]) -> None:
        """Write the overview of the labels of a slab."""

        def write(index: tuple[int, ...]) -> None:
            cells = Box(tuple(at * BLOCK for at in index), tuple((at + 1) * BLOCK for at in index)).clip(slab)
            self._write(index, values[cells.within(slab.start).slices])

        with ThreadPoolExecutor(_AT_ONCE, "halve") as pool:
            list(pool.map(write, _blocks(slab)))

    def _write(self, index: tuple[int, ...], block: NDArray[Any]) -> None:
        odd_row, odd_column = (side % 2 for side in self.labels)
        odd = odd_row or odd_column
        cells = np.pad(block, [(odd_row, 0), (odd_column, 0)], constant_values=self.nodata) if odd else block
        write_tile(self.tile_file(index), halve(cells, self.nodata, (odd_row, odd_column)), self.nodata)
        if odd:
            write_chunk(self.edges_file(index), edges_of(block, self.nodata), self.nodata)

    def read_through(self, slab: Box) -> None:
        """Check the checksums of all that is stored of a slab; raises DamagedError."""
        for file in self.chunk_files(slab):
            read_tile(file)


def overview_in(root: zarr.Group, path: Path, labels: zarr.Array[Any]) -> Overview | None:
    """Return the overview in the store at `path`; None in one without it, as in earlier versions."""
    names = overview_arrays(labels.shape)
    if not names or not all(isinstance(root.get(name), zarr.Array) for name in names):
        return None
    return Overview(path, labels.shape, int(labels.fill_value))


def _blocks(slab: Box) -> Iterator[tuple[int, ...]]:
    sides = zip(slab.start, slab.stop, strict=True)
    return product(*(range(start // BLOCK, -(-stop // BLOCK)) for start, stop in sides))


def _chunk(folder: Path, index: tuple[int, ...]) -> Path:
    return folder.joinpath("c", *map(str, index))
