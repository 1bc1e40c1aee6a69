"""Blocks of cells of a lattice, whose features are computed together, and the parts of patches that lie in them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product

from pipeline.geometry.box import Box
from pipeline.geometry.lattice import Lattice

MANY = 8
"""Blocks along an axis from which on one more, of which each has a halo, costs little."""


@dataclass(frozen=True)
class Cut:
    """Intersection of a patch and a block."""

    place: Box
    """Its cells, counted from the first one that the block sees."""
    part: Box
    """The same cells, counted from the first one of the patch."""
    patch: tuple[int, ...]
    """Shape of the patch, whole even at the end of a small grid."""

    @classmethod
    def whole(cls, place: Box) -> Cut:
        """Return the cut of a patch that lies inside one block, at `place`."""
        return cls(place, Box.whole(place.shape), place.shape)

    @property
    def complete(self) -> bool:
        """Whether it is the whole patch."""
        return self.part.shape == self.patch


@dataclass(frozen=True)
class Block:
    """Cells of no other block, and what the network sees to compute them."""

    cells: Box
    seen: Box
    """The cells with the halo and the margin around them; the margin may lie outside the grid."""
    patches: tuple[Box, ...]
    """Patches with cells in it, in lattice order."""
    ending: tuple[Box, ...]
    """Those of them whose last cell is in it: each patch ends in one block."""

    def cut(self, patch: Box, shape: tuple[int, ...]) -> Cut:
        """Return the part that it has of a patch of `shape`."""
        whole = Box(patch.start, tuple(a + n for a, n in zip(patch.start, shape, strict=True)))
        inside = whole.clip(self.cells)
        return Cut(inside.within(self.seen.start), inside.within(patch.start), shape)


@dataclass(frozen=True)
class Blocks:
    """The blocks of a lattice: global, so that every run, slab and worker computes the same ones.

    They cover the lattice without overlap and end where patches do, so that few patches lie in two of them. A block
    sees `halo` cells around its own, as far as the lattice reaches.

    >>> lattice = Lattice(shape=(40, 8), patch=(8, 8), overlap=(4, 0), margin=(0, 0))
    >>> Blocks(lattice, (18, 8), (4, 4)).edges
    ((0, 16, 32, 40), (0, 8))
    """

    lattice: Lattice
    size: tuple[int, ...]
    """Most cells of a block per axis, unless a patch has more."""
    halo: tuple[int, ...]
    """Cells seen around those of a block per axis."""

    def __post_init__(self) -> None:
        if not len(self.size) == len(self.halo) == len(self.lattice.shape):
            raise ValueError(f"size {self.size} and halo {self.halo} need one entry per axis of {self.lattice.shape}")
        if min(self.size) < 1 or min(self.halo) < 0:
            raise ValueError(f"size {self.size} must be at least 1 per axis, and halo {self.halo} at least 0")

    @cached_property
    def edges(self) -> tuple[tuple[int, ...], ...]:
        """Where blocks begin, per axis, and at last where the last one ends."""
        return tuple(_edges(ends, size) for ends, size in zip(self._ends, self.size, strict=True))

    @cached_property
    def counts(self) -> tuple[tuple[int, ...], ...]:
        """How many patches end before each edge, or there, per axis."""
        both = zip(self._ends, self.edges, strict=True)
        return tuple(tuple(bisect_right(ends, edge) for edge in edges) for ends, edges in both)

    @property
    def reach(self) -> int:
        """Rows before a patch that a block in which a lower one ends may see."""
        return self.halo[0] + self.lattice.margin[0]

    def needed(self, axis: int, patches: slice) -> slice:
        """Return which blocks along an axis have cells of these patches: a slice of its starts, which is not empty."""
        edges = self.edges[axis]
        first, last = self.lattice.starts[axis][patches.start], self._ends[axis][patches.stop - 1]
        return slice(bisect_right(edges, first) - 1, bisect_left(edges, last))

    def touching(self, region: Box) -> tuple[slice, ...]:
        """Return which blocks, per axis, have cells of patches with cells of `region`."""
        return tuple(self.needed(axis, patches) for axis, patches in enumerate(self.lattice.touched(region)))

    def seen(self, blocks: Sequence[slice]) -> Box:
        """Return what these blocks, per axis, see together."""
        return self._cells(blocks).grow(self.halo).clip(self._extent).grow(self.lattice.margin)

    def rows(self, region: Box | None = None) -> Iterator[list[Block]]:
        """Yield rows of blocks from left to right: all, or those that are needed for `region`."""
        whole = self.touching(region or Box.whole(self.lattice.shape))
        first, *others = [[slice(at, at + 1) for at in range(each.start, each.stop)] for each in whole]
        for row in first:
            yield [self._block((row, *rest)) for rest in product(*others)]

    def largest(self) -> Block:
        """Return a block that sees most cells."""
        return self._block(tuple(self._widest(axis) for axis in range(len(self.size))))

    def _widest(self, axis: int) -> slice:
        edges, halo = self.edges[axis], self.halo[axis]
        seen = [min(stop + halo, edges[-1]) - max(start - halo, 0) for start, stop in pairwise(edges)]
        at = seen.index(max(seen))
        return slice(at, at + 1)

    def _block(self, at: tuple[slice, ...]) -> Block:
        cells, axes = self._cells(at), zip(self.lattice.starts, self.counts, at, strict=True)
        ending = (starts[counts[one.start] : counts[one.stop]] for starts, counts, one in axes)
        return Block(cells, self.seen(at), self._patches(self.lattice.touching(cells)), self._patches(ending))

    def _cells(self, blocks: Sequence[slice]) -> Box:
        axes = list(zip(self.edges, blocks, strict=True))
        return Box(tuple(edges[at.start] for edges, at in axes), tuple(edges[at.stop] for edges, at in axes))

    def _patches(self, starts: Iterable[Sequence[int]]) -> tuple[Box, ...]:
        return tuple(self.lattice.patch_at(start) for start in product(*starts))

    @cached_property
    def _ends(self) -> tuple[tuple[int, ...], ...]:
        """Where whole patches end, per axis."""
        both = zip(self.lattice.starts, self.lattice.patch, strict=True)
        return tuple(tuple(start + side for start in starts) for starts, side in both)

    @cached_property
    def _extent(self) -> Box:
        """All cells of whole patches."""
        return Box.whole(tuple(edges[-1] for edges in self.edges))


def _edges(ends: tuple[int, ...], size: int) -> tuple[int, ...]:
    """Go from edge to edge, each at the end of a patch, as far as `size` allows, but at least to the next one.

    The first of many goes half as far. What workers are given begins and ends at multiples of a size like this one: in
    the middle of blocks, where patches of both sides lie in the same one.
    """
    edges = [0]
    while edges[-1] < ends[-1]:
        reach = size // 2 if len(edges) == 1 and ends[-1] >= MANY * size else size
        following = bisect_right(ends, edges[-1])
        edges.append(ends[max(following, bisect_right(ends, edges[-1] + reach) - 1)])
    return tuple(edges)


def padded_shape(shape: tuple[int, ...], unit: tuple[int, ...]) -> tuple[int, ...]:
    """Return the least multiples of `unit` that hold `shape`.

    >>> padded_shape((10, 16), (8, 8))
    (16, 16)
    """
    return tuple(-(-n // u) * u for n, u in zip(shape, unit, strict=True))
