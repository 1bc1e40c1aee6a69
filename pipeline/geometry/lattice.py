"""The global lattice of overlapping patches that covers a grid."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.box import Box


@dataclass(frozen=True)
class Lattice:
    """Patches of one shape at a regular stride; the last along an axis is shifted inward to end with the grid.

    Lattice order is row-major, axis 0 slowest. An axis shorter than the patch has one patch, clipped to the grid, and
    the input of the network is completed by reflection.

    >>> Lattice(shape=(10,), patch=(4,), overlap=(1,), margin=(0,)).starts
    ((0, 3, 6),)
    """

    shape: tuple[int, ...]
    """Cells of the grid per axis."""
    patch: tuple[int, ...]
    """Cells of a patch per axis."""
    overlap: tuple[int, ...]
    """Cells shared by neighboring patches per axis: patch minus stride."""
    margin: tuple[int, ...]
    """Cells that the network sees on both sides of a patch per axis, but does not predict."""

    def __post_init__(self) -> None:
        if not len(self.shape) == len(self.patch) == len(self.overlap) == len(self.margin):
            raise ValueError(
                f"patch {self.patch}, overlap {self.overlap} and margin {self.margin} need one entry per axis of the "
                f"shape {self.shape}"
            )
        for axis, (patch, overlap, margin) in enumerate(zip(self.patch, self.overlap, self.margin, strict=True)):
            if patch < 1 or not 0 <= overlap < patch or margin < 0:
                raise ValueError(
                    f"axis {axis}: patch {patch} must be at least 1, overlap {overlap} from 0 to less than the patch, "
                    f"margin {margin} at least 0"
                )

    @cached_property
    def starts(self) -> tuple[tuple[int, ...], ...]:
        """First cell of each patch position per axis, ascending."""
        return tuple(_starts(n, p, p - o) for n, p, o in zip(self.shape, self.patch, self.overlap, strict=True))

    @cached_property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the network's input: the patch with its margin."""
        return tuple(p + 2 * m for p, m in zip(self.patch, self.margin, strict=True))

    @cached_property
    def max_overlaps(self) -> int:
        """Approximate largest number of patches that overlap in one cell."""
        return prod(-(-p // (p - o)) for p, o in zip(self.patch, self.overlap, strict=True))

    def __len__(self) -> int:
        return prod(len(starts) for starts in self.starts)

    def patch_at(self, start: tuple[int, ...]) -> Box:
        """Return the cells predicted by the patch at `start`, clipped where the grid is smaller than a patch."""
        stop = tuple(min(a + p, n) for a, p, n in zip(start, self.patch, self.shape, strict=True))
        return Box(start, stop)

    def input_box(self, start: tuple[int, ...]) -> Box:
        """Return the cells that the network sees for the patch at `start`; they may reach outside the grid."""
        stop = tuple(a + p for a, p in zip(start, self.patch, strict=True))
        return Box(start, stop).grow(self.margin)

    def touched(self, region: Box) -> tuple[slice, ...]:
        """Return which of `starts`, per axis, belong to patches with cells of `region`."""
        return tuple(
            slice(bisect_right(starts, first - side), bisect_left(starts, stop))
            for starts, side, first, stop in zip(self.starts, self.patch, region.start, region.stop, strict=True)
        )

    def touching(self, region: Box) -> tuple[tuple[int, ...], ...]:
        """Return those of `starts`, per axis, that belong to patches with cells of `region`."""
        return tuple(starts[which] for starts, which in zip(self.starts, self.touched(region), strict=True))

    def rows(self) -> Iterator[tuple[int, list[Box]]]:
        """Yield each position along axis 0 with its patches, in lattice order."""
        for first in self.starts[0]:
            yield first, [self.patch_at((first, *rest)) for rest in product(*self.starts[1:])]


def reflect(start: int, stop: int, size: int) -> NDArray[np.intp]:
    """Return the indices `start..stop` of an axis of `size` cells, mirrored at its ends like NumPy's "reflect".

    >>> reflect(-2, 6, 4)
    array([2, 1, 0, 1, 2, 3, 2, 1])
    """
    index = np.arange(start, stop)
    if size == 1:
        return np.zeros_like(index)
    period = 2 * (size - 1)
    index = np.abs(index) % period
    return np.where(index < size, index, period - index)


def _starts(size: int, patch: int, stride: int) -> tuple[int, ...]:
    last = size - patch
    if last <= 0:
        return (0,)
    return (*range(0, last, stride), last)
