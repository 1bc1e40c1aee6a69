"""Blocks of cells whose features are computed together."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine.network import bounds
from pipeline.geometry import Block, Blocks, Box, Lattice, padded_shape
from tests.geometry.test_geometry import lattices


@st.composite
def blocks(draw: st.DrawFn) -> Blocks:
    """Blocks of any lattice, of any size and halo."""
    lattice = draw(lattices)
    axes = len(lattice.shape)
    size, halo = (draw(st.tuples(*[st.integers(least, most)] * axes)) for least, most in ((1, 20), (0, 4)))
    return Blocks(lattice, size, halo)


def all_of(blocks: Blocks, region: Box | None = None) -> list[Block]:
    return [block for row in blocks.rows(region) for block in row]


def whole(patch: Box, lattice: Lattice) -> Box:
    """A patch, also beyond the end of a small grid."""
    return Box(patch.start, tuple(a + n for a, n in zip(patch.start, lattice.patch, strict=True)))


def extent(lattice: Lattice) -> Box:
    """All cells of whole patches."""
    return Box.whole(tuple(map(max, lattice.shape, lattice.patch)))


@given(blocks())
def test_every_cell_is_in_one_block(blocks):
    times = np.zeros(extent(blocks.lattice).shape, int)
    for block in all_of(blocks):
        times[block.cells.slices] += 1
    assert (times == 1).all()


@given(blocks())
def test_every_patch_is_cut_into_the_blocks_that_have_cells_of_it_and_ends_in_one(blocks):
    lattice = blocks.lattice
    cuts = {patch: [] for _, row in lattice.rows() for patch in row}
    for block in all_of(blocks):
        for patch in block.patches:
            cut = block.cut(patch, lattice.patch)
            inside = whole(patch, lattice).clip(block.cells)
            assert cut.part == inside.within(patch.start)
            assert cut.place == inside.within(block.seen.start)
            assert cut.complete == block.cells.contains(whole(patch, lattice))
            cuts[patch].append(cut.part)
        assert set(block.ending) <= set(block.patches)
    assert all(sum(part.size for part in parts) == prod(lattice.patch) for parts in cuts.values())
    assert sorted(patch for block in all_of(blocks) for patch in block.ending) == list(cuts)


@given(blocks())
def test_rows_of_blocks_follow_each_other_as_those_of_the_lattice_do(blocks):
    rows = [sorted({patch.start[0] for block in row for patch in block.ending}) for row in blocks.rows()]
    assert [start for starts in rows for start in starts] == [start for start, _ in blocks.lattice.rows()]
    for (first, *_), later in zip(rows, blocks.rows(), strict=True):
        assert min(block.seen.start[0] for block in later) >= first - blocks.reach


@given(blocks())
def test_a_block_sees_its_cells_the_halo_and_the_margin(blocks):
    for block in all_of(blocks):
        assert block.seen == block.cells.grow(blocks.halo).clip(extent(blocks.lattice)).grow(blocks.lattice.margin)
    largest = max(block.seen.size for block in all_of(blocks))
    assert blocks.largest() in all_of(blocks)
    assert blocks.largest().seen.size == largest


@given(blocks())
def test_blocks_end_with_patches_and_are_no_larger_than_allowed_unless_a_patch_is(blocks):
    for axis, (edges, size) in enumerate(zip(blocks.edges, blocks.size, strict=True)):
        ends = [start + blocks.lattice.patch[axis] for start in blocks.lattice.starts[axis]]
        assert set(edges[1:]) <= set(ends)
        for start, stop in pairwise(edges):
            assert stop - start <= size or not any(start < end < stop for end in ends)


@given(blocks(), st.data())
def test_a_region_needs_the_blocks_that_have_cells_of_its_patches(blocks, data):
    shape = blocks.lattice.shape
    start = tuple(data.draw(st.integers(0, side - 1)) for side in shape)
    region = Box(start, tuple(data.draw(st.integers(a + 1, side)) for a, side in zip(start, shape, strict=True)))
    needed = [block for block in all_of(blocks) if any(patch.clip(region).size for patch in block.patches)]
    found = all_of(blocks, region)
    assert found == needed
    seen = blocks.seen(blocks.touching(region))
    assert all(seen.contains(block.seen) for block in found)
    assert seen == bounds([block.seen for block in found])


@given(st.lists(st.tuples(st.integers(1, 99), st.integers(1, 16)), min_size=1, max_size=3))
def test_a_padded_shape_is_the_least_of_whole_units(pairs):
    shape, unit = zip(*pairs, strict=True)
    for n, u, padded in zip(shape, unit, padded_shape(shape, unit), strict=True):
        assert padded % u == 0
        assert 0 <= padded - n < u


def test_sizes_and_halos_that_cannot_be_are_refused():
    good = Blocks(Lattice((9, 9), (4, 4), (1, 1), (0, 0)), (1, 1), (0, 0))
    for wrong in ({"size": (0, 1)}, {"halo": (0, -1)}, {"halo": (0,)}):
        with pytest.raises(ValueError, match="halo"):
            replace(good, **wrong)
