"""Blocks of neighboring patches of a lattice, whose features are computed together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise, product

from pipeline.geometry.box import Box
from pipeline.geometry.lattice import Lattice


@dataclass(frozen=True)
class Block:
    """Neighboring patches, and what the network sees to compute them."""

    patches: tuple[Box, ...]
    """In lattice order."""
    seen: Box
    """The cells of the patches, with their margin and with the halo around them; the margin may lie outside the grid.
    """

    def place(self, patch: Box, shape: tuple[int, ...]) -> Box:
        """Return where a patch of `shape`, whole even at the end of a small grid, is inside `seen`."""
        start = tuple(a - b for a, b in zip(patch.start, self.seen.start, strict=True))
        return Box(start, tuple(a + n for a, n in zip(start, shape, strict=True)))


@dataclass(frozen=True)
class Blocks:
    """The blocks of a lattice: global, so that every run, slab and worker computes the same ones.

    Along each axis the patches are shared out evenly among as few blocks as `size` allows. A block sees `halo` cells
    around its patches, as far as the lattice reaches.

    >>> lattice = Lattice(shape=(40, 8), patch=(8, 8), overlap=(0, 0), margin=(0, 0))
    >>> [len(block.patches) for _, blocks in Blocks(lattice, (2, 2), (4, 4)).rows() for block in blocks]
    [1, 2, 2]
    """

    lattice: Lattice
    size: tuple[int, ...]
    """Most patches of a block per axis."""
    halo: tuple[int, ...]
    """Cells seen around the patches of a block per axis."""

    def __post_init__(self) -> None:
        if not len(self.size) == len(self.halo) == len(self.lattice.shape):
            raise ValueError(f"size {self.size} and halo {self.halo} need one entry per axis of {self.lattice.shape}")
        if min(self.size) < 1 or min(self.halo) < 0:
            raise ValueError(f"size {self.size} must be at least 1 per axis, and halo {self.halo} at least 0")

    @cached_property
    def parts(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """Starts of patches by block, per axis."""
        return tuple(_even(starts, size) for starts, size in zip(self.lattice.starts, self.size, strict=True))

    @cached_property
    def edges(self) -> tuple[tuple[int, ...], ...]:
        """Per axis: how many starts of patches are before each block, and at last all of them."""
        return tuple((0, *accumulate(map(len, starts))) for starts in self.parts)

    @property
    def reach(self) -> int:
        """Rows before a patch that a block with patches as low or lower may see."""
        return self.halo[0] + self.lattice.margin[0]

    def rows(self) -> Iterator[tuple[tuple[int, ...], list[Block]]]:
        """Yield the starts of lattice rows that are computed together, with their blocks from left to right."""
        first, *others = self.parts
        for starts in first:
            yield starts, [self._block((starts, *rest)) for rest in product(*others)]

    def _block(self, starts: tuple[tuple[int, ...], ...]) -> Block:
        patches = tuple(self.lattice.patch_at(start) for start in product(*starts))
        cells = Box(patches[0].start, self._end(patches[-1])).grow(self.halo).clip(self._extent)
        return Block(patches, cells.grow(self.lattice.margin))

    def _end(self, patch: Box) -> tuple[int, ...]:
        return tuple(a + n for a, n in zip(patch.start, self.lattice.patch, strict=True))

    @cached_property
    def _extent(self) -> Box:
        """All cells of whole patches."""
        return Box.whole(tuple(map(max, self.lattice.shape, self.lattice.patch)))


def _even(starts: tuple[int, ...], size: int) -> tuple[tuple[int, ...], ...]:
    parts = -(-len(starts) // size)
    edges = [len(starts) * i // parts for i in range(parts + 1)]
    return tuple(starts[a:b] for a, b in pairwise(edges))


def padded_shape(shape: tuple[int, ...], unit: tuple[int, ...]) -> tuple[int, ...]:
    """Return the least multiples of `unit` that hold `shape`.

    >>> padded_shape((10, 16), (8, 8))
    (16, 16)
    """
    return tuple(-(-n // u) * u for n, u in zip(shape, unit, strict=True))
