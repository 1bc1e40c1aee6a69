"""The overviews of tiles of labels, made in one pass over the tiles: strip by strip, in threads."""

from __future__ import annotations

import os
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DamagedError
from pipeline.io.raster.majority import halve
from pipeline.io.tiles import TILE, Tiles, pack, unpack

T = TypeVar("T")


def overview_shapes(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the shape of each overview of a raster, the largest first, down to where the longer side fits a tile."""
    shapes, factor = list[tuple[int, int]](), 2
    while max(shape) > TILE // 2 * factor:
        shapes.append((-(-shape[0] // factor), -(-shape[1] // factor)))
        factor *= 2
    return shapes


class Level:
    """The packed tiles of one level, of which one strip is held unpacked."""

    def __init__(self, shape: tuple[int, int], dtype: np.dtype[Any], nodata: int) -> None:
        self.shape, self.nodata = shape, nodata
        self.across = -(-shape[1] // TILE)
        self.sizes, self.checksums = array("L"), array("L")
        """Bytes and CRC-32 of each packed tile, row by row."""
        self.strips: list[int] = []
        """Where each row of tiles begins in the file that they are kept in."""
        self._strip = np.full((1 + TILE, 1 + self.across * TILE), nodata, dtype)
        self._top = self._filled = 0

    @property
    def tile_rows(self) -> int:
        """Number of rows of tiles."""
        return -(-self.shape[0] // TILE)

    @property
    def is_full(self) -> bool:
        """Whether all rows of the strip are there."""
        return self._filled == min(TILE, self.shape[0] - self._top)

    def tile(self, column: int) -> NDArray[Any]:
        """Return a tile of the strip, filled up with nodata, to be read or written."""
        return self._strip[1:, 1 + column * TILE : 1 + (column + 1) * TILE]

    def add(self, packed: bytes) -> None:
        """Count the next packed tile."""
        self.sizes.append(len(packed))
        self.checksums.append(zlib.crc32(packed))

    def fill(self, rows: int) -> NDArray[Any]:
        """Return the next rows of the strip, to be written."""
        self._filled += rows
        return self._strip[1 + self._filled - rows : 1 + self._filled, 1 : 1 + self.shape[1]]

    def halve_into(self, above: Level, pool: Executor) -> None:
        """Write the overview of the strip into the next level."""
        odd_row, odd_column = (side % 2 for side in self.shape)
        rows = self._strip[1 - odd_row : 1 + self._filled]
        half = above.fill(-(-self._filled // 2))

        def write(left: int) -> None:
            right = min(left + TILE, half.shape[1])
            columns = rows[:, 1 + 2 * left - odd_column : min(1 + 2 * right, 1 + self.shape[1])]
            half[:, left:right] = halve(columns, self.nodata, (odd_row, odd_column))

        _do(pool, write, range(0, half.shape[1], TILE))

    def begin_strip(self) -> None:
        """Begin the next strip, keeping the last row of this one."""
        self._strip[0] = self._strip[self._filled]
        self._strip[1:] = self.nodata
        self._top, self._filled = self._top + self._filled, 0


class Pyramid:
    """The tiles of a raster and of its overviews; those of overviews are kept in a file."""

    def __init__(self, tiles: Tiles, nodata: int, kept: IO[bytes]) -> None:
        """Make the overviews of `tiles`, writing them to `kept`.

        Raises:
            DamagedError: A tile is not as it was written.

        """
        self._tiles, self._kept = tiles, kept
        shapes = (tiles.shape, *overview_shapes(tiles.shape))
        self.levels = [Level(shape, tiles.dtype, nodata) for shape in shapes]
        self._empty = pack(np.full((TILE, TILE), nodata, tiles.dtype))
        with ThreadPoolExecutor(os.cpu_count() or 1, "overviews") as pool:
            for row in range(self.levels[0].tile_rows):
                self._read(row, pool)
                self._finish(0, pool)

    def packed(self, level: int) -> Iterator[bytes]:
        """Yield the packed tiles of a level, row by row.

        Raises:
            DamagedError: A tile changed since its overview was made.

        """
        made = self.levels[level]
        places = ((row, column) for row in range(made.tile_rows) for column in range(made.across))
        for at, (row, column) in enumerate(places):
            tile = self._kept_tile(made, at, row, column) if level else self._stored(row, column)
            if zlib.crc32(tile) != made.checksums[at]:
                raise DamagedError(f"tile {row}, {column} of level {level} changed while it was published")
            yield tile

    def _stored(self, row: int, column: int) -> bytes:
        return self._tiles.packed(row, column) or self._empty

    def _kept_tile(self, level: Level, at: int, row: int, column: int) -> bytes:
        if column == 0:
            self._kept.seek(level.strips[row])
        return self._kept.read(level.sizes[at])

    def _read(self, row: int, pool: Executor) -> None:
        """Read a row of tiles as a strip of level 0."""
        level = self.levels[0]

        def read(column: int) -> bytes:
            packed = self._stored(row, column)
            try:
                level.tile(column)[:] = unpack(packed, self._tiles.dtype)
            except (zlib.error, ValueError) as error:
                raise DamagedError(f"tile {row}, {column} cannot be decompressed ({error})") from error
            return packed

        for packed in _do(pool, read, range(level.across)):
            level.add(packed)
        level.fill(min(TILE, level.shape[0] - row * TILE))

    def _finish(self, number: int, pool: Executor) -> None:
        """Pack the strip of a level, unless it is packed already, and add it to the level above."""
        level = self.levels[number]
        if number:
            self._pack(level, pool)
        if number + 1 < len(self.levels):
            above = self.levels[number + 1]
            level.halve_into(above, pool)
            if above.is_full:
                self._finish(number + 1, pool)
        level.begin_strip()

    def _pack(self, level: Level, pool: Executor) -> None:
        level.strips.append(self._kept.seek(0, os.SEEK_END))
        for packed in _do(pool, lambda column: pack(level.tile(column)), range(level.across)):
            level.add(packed)
            self._kept.write(packed)


def _do(pool: Executor, work: Callable[[int], T], parts: Iterable[int]) -> list[T]:
    return list(pool.map(work, parts))
