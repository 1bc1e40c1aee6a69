"""The overviews of tiles of labels, made in one pass over the highest level that is stored: by strips, in threads."""

from __future__ import annotations

import os
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import product
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DamagedError
from pipeline.io.majority import halve
from pipeline.io.raster.seams import Seams
from pipeline.io.tiles import TILE, Packed, Tail, Tiles, pack, unpack

T = TypeVar("T")


def overview_shapes(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the shape of each overview of a raster, the largest first, down to where the longer side fits a tile."""
    shapes, factor = list[tuple[int, ...]](), 2
    while max(shape) > TILE // 2 * factor:
        shapes.append((-(-shape[0] // factor), -(-shape[1] // factor)))
        factor *= 2
    return shapes


class Level:
    """The packed tiles of one level: their sizes and checksums."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.across = -(-shape[1] // TILE)
        self.sizes, self.checksums = array("L"), array("L")
        """Bytes of each packed tile, and its checksum, row by row."""

    @property
    def tile_rows(self) -> int:
        """Number of rows of tiles."""
        return -(-self.shape[0] // TILE)

    @property
    def places(self) -> Iterator[tuple[int, int]]:
        """Row and column of each tile."""
        return product(range(self.tile_rows), range(self.across))

    def add(self, tail: Tail) -> None:
        """Count the next packed tile."""
        self.sizes.append(tail.size)
        self.checksums.append(tail.checksum)

    def is_counted(self, at: int, tail: Tail) -> bool:
        """Return whether a tile is the one that was counted."""
        return Tail(self.sizes[at], self.checksums[at]) == tail


class StripLevel(Level):
    """A level of which one strip is held unpacked, to make the next one of it."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], nodata: int) -> None:
        super().__init__(shape)
        self.nodata = nodata
        self.strips: list[int] = []
        """Where each row of tiles begins in the file that they are kept in."""
        self.dtype = dtype
        self._strip = np.full((1 + TILE, 1 + self.across * TILE), nodata, dtype)
        self._top = self._filled = 0

    @property
    def is_full(self) -> bool:
        """Whether all rows of the strip are there."""
        return self._filled == min(TILE, self.shape[0] - self._top)

    def tile(self, column: int) -> NDArray[Any]:
        """Return a tile of the strip, filled up with nodata, to be read or written."""
        return self._strip[1:, 1 + column * TILE : 1 + (column + 1) * TILE]

    def fill(self, rows: int) -> NDArray[Any]:
        """Return the next rows of the strip, to be written."""
        self._filled += rows
        return self._strip[1 + self._filled - rows : 1 + self._filled, 1 : 1 + self.shape[1]]

    def halve_into(self, above: StripLevel, pool: Executor) -> None:
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
    """The tiles of a raster and of its overviews; those of overviews that are not stored are kept in a file."""

    def __init__(self, tiles: Tiles, nodata: int, kept: IO[bytes]) -> None:
        """Make the overviews of `tiles` that are not there yet, writing them to `kept`.

        Raises:
            DamagedError: A tile is not as it was written.

        """
        self._stored = [tiles, *([tiles.overview] if tiles.overview else ())]
        self._kept = kept
        shapes = [tiles.shape, *overview_shapes(tiles.shape)]
        self._first = len(self._stored) - 1
        """The level that the ones above it are made of."""
        self._seams = _seams(tiles, nodata)
        self._copies = len(self._stored) - bool(self._seams)
        """Number of levels whose tiles are copied."""
        self._made = [StripLevel(shape, tiles.dtype, nodata) for shape in shapes[self._first :]]
        self.levels = [*map(Level, shapes[: self._first]), *self._made]
        self._empty = _packed(np.full((TILE, TILE), nodata, tiles.dtype))
        with ThreadPoolExecutor(os.cpu_count() or 1, "overviews") as pool:
            for number in range(self._first):
                self._count(number, pool)
            for row in range(self._made[0].tile_rows):
                self._read(row, pool)
                self._finish(0, pool)

    def packed(self, level: int) -> Iterator[bytes]:
        """Yield the packed tiles of a level, row by row.

        Raises:
            DamagedError: A tile changed since its overview was made.

        """
        counted = self.levels[level]
        for at, (row, column) in enumerate(counted.places):
            tile = self._copied(level, row, column) if level < self._copies else self._kept_tile(level, at, row, column)
            if not counted.is_counted(at, tile.tail):
                raise DamagedError(f"tile {row}, {column} of level {level} changed while it was published")
            yield tile.content

    def _copied(self, level: int, row: int, column: int) -> Packed:
        return self._stored[level].packed(row, column) or self._empty

    def _kept_tile(self, level: int, at: int, row: int, column: int) -> Packed:
        made = self._made[level - self._first]
        if column == 0:
            self._kept.seek(made.strips[row])
        content = self._kept.read(made.sizes[at])
        return Packed(content, zlib.crc32(content))

    def _count(self, number: int, pool: Executor) -> None:
        """Count the tiles of a level whose overview is there."""
        level, tiles = self.levels[number], self._stored[number]

        def tail(at: int) -> Tail:
            return tiles.tail(*divmod(at, level.across)) or self._empty.tail

        for found in pool.map(tail, range(level.tile_rows * level.across)):
            level.add(found)

    def _read(self, row: int, pool: Executor) -> None:
        """Read a row of tiles as a strip of the highest level that is stored."""
        level = self._made[0]

        def read(column: int) -> Tail:
            packed = self._copied(self._first, row, column)
            try:
                level.tile(column)[:] = unpack(packed.content, level.dtype)
            except (zlib.error, ValueError) as error:
                raise DamagedError(f"tile {row}, {column} cannot be decompressed ({error})") from error
            return packed.tail

        for tail in _do(pool, read, range(level.across)):
            if self._seams is None:
                level.add(tail)
        strip = level.fill(min(TILE, level.shape[0] - row * TILE))
        if self._seams:
            self._seams.mend(row, strip)

    def _finish(self, number: int, pool: Executor) -> None:
        """Pack the strip of a level, unless it is packed already, and add it to the level above."""
        level = self._made[number]
        if number + self._first >= self._copies:
            self._pack(level, pool)
        if number + 1 < len(self._made):
            above = self._made[number + 1]
            level.halve_into(above, pool)
            if above.is_full:
                self._finish(number + 1, pool)
        level.begin_strip()

    def _pack(self, level: StripLevel, pool: Executor) -> None:
        level.strips.append(self._kept.seek(0, os.SEEK_END))
        for packed in _do(pool, lambda column: _packed(level.tile(column)), range(level.across)):
            level.add(packed.tail)
            self._kept.write(packed.content)


def _seams(tiles: Tiles, nodata: int) -> Seams | None:
    """The seams of the overview that is stored, if windows reach across them."""
    odd = any(side % 2 for side in tiles.shape)
    return Seams(tiles.overview, tiles.shape, nodata) if tiles.overview and odd else None


def _packed(tile: NDArray[Any]) -> Packed:
    content = pack(tile)
    return Packed(content, zlib.crc32(content))


def _do(pool: Executor, work: Callable[[int], T], parts: Iterable[int]) -> list[T]:
    return list(pool.map(work, parts))
