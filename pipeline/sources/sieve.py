"""Sieve masks: regions below a size take the class of most of their border."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label  # type: ignore[attr-defined]

from pipeline.engine import Pixels, Source
from pipeline.errors import RequestError
from pipeline.geometry import Box

SIDE = {2: 1024, 3: 64}
"""Smallest side of a tile, by number of axes."""
Labels = NDArray[np.generic]


class SievedLabels(Source):
    """A mask in which each region has at least `least` cells, or no neighbor that has.

    Cells of one class that touch along faces are a region. One that is too small takes the most frequent class of the
    faces around it, without those of nodata and of other small regions; the lowest class wins a tie. A region with no
    other faces around it stays.
    """

    def __init__(self, labels: Source, nodata: int, least: int, *, side: int | None = None) -> None:
        """Sieve `labels`: replace regions below `least` cells, in tiles of at least `side` cells, by default `SIDE`.

        Raises:
            RequestError: if `least` is below 1.

        """
        if least < 1:
            raise RequestError(f"sieve is {least}; the smallest number of cells of a region must be at least 1")
        self._labels, self._nodata, self._least = labels, nodata, least
        self.info = labels.info
        self._side = max(side or SIDE[len(self.grid.shape)], 4 * least)

    def read(self, box: Box) -> Pixels:
        """Read the sieved labels of `box`, tile by tile: a cell depends on no other farther than `2 * least` cells."""
        values = np.empty((1, *box.shape), self.dtype)
        whole = Box.whole(self.grid.shape)
        for tile in self._tiles(box):
            around = tile.grow((2 * self._least,) * len(box.shape)).clip(whole)
            found = sieve(self._labels.read(around).values[0], self._nodata, self._least)
            values[(slice(None), *tile.within(box.start).slices)] = found[tile.within(around.start).slices]
        valid = values[0] != self._nodata
        return Pixels(values, None if valid.all() else valid)

    def _tiles(self, box: Box) -> Iterator[Box]:
        for corner in product(*(range(a, b, self._side) for a, b in zip(box.start, box.stop, strict=True))):
            yield Box(corner, tuple(min(at + self._side, end) for at, end in zip(corner, box.stop, strict=True)))

    def close(self) -> None:
        """Close the mask."""
        self._labels.close()


def sieve(labels: Labels, nodata: int, least: int) -> Labels:
    """Return an array of labels without regions below `least` cells."""
    regions = _regions(labels)
    small = (np.bincount(regions.ravel()) < least)[regions] & (labels != nodata)
    if not small.any():
        return labels
    keys = np.concatenate([_faces(labels, regions, small, nodata, axis) for axis in range(labels.ndim)])
    pairs, counts = np.unique(keys, return_counts=True)
    order = np.lexsort((pairs & 0xFFFF, -counts, pairs >> 16))
    chosen, first = np.unique(pairs[order] >> 16, return_index=True)
    instead = np.full(int(regions.max()) + 1, -1, np.int64)
    instead[chosen] = (pairs[order] & 0xFFFF)[first]
    taken = instead[regions]
    return np.where(small & (taken >= 0), taken, labels).astype(labels.dtype)


def _regions(labels: Labels) -> NDArray[np.int64]:
    """The number of the region of each cell."""
    regions, count = np.zeros(labels.shape, np.int64), 0
    for value in np.unique(labels):
        found, more = label(labels == value)
        np.add(found, count, out=regions, where=found > 0)
        count += more
    return regions


def _faces(
    labels: Labels, regions: NDArray[np.int64], small: NDArray[np.bool_], nodata: int, axis: int
) -> NDArray[np.int64]:
    """For each face along `axis` between a small region and one that is not: its number, and the other's class."""
    low = (slice(None),) * axis + (slice(None, -1),)
    high = (slice(None),) * axis + (slice(1, None),)
    keys = []
    for own, other in ((low, high), (high, low)):
        meeting = small[own] & ~small[other] & (labels[other] != nodata)
        keys.append(regions[own][meeting] << 16 | labels[other][meeting].astype(np.int64))
    return np.concatenate(keys)
