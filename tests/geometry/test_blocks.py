"""Blocks of patches whose features are computed together."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.geometry import Blocks, Box, Lattice, padded_shape
from tests.geometry.test_geometry import lattices


@st.composite
def blocks(draw: st.DrawFn) -> Blocks:
    """Blocks of any lattice, of any size and halo."""
    lattice = draw(lattices)
    axes = len(lattice.shape)
    size, halo = (draw(st.tuples(*[st.integers(least, 4)] * axes)) for least in (1, 0))
    return Blocks(lattice, size, halo)


@given(blocks())
def test_every_patch_is_in_one_block(blocks):
    found = [patch for _, row in blocks.rows() for block in row for patch in block.patches]
    assert sorted(found) == [patch for _, row in blocks.lattice.rows() for patch in row]


@given(blocks())
def test_rows_of_blocks_follow_each_other_as_those_of_the_lattice_do(blocks):
    assert [start for starts, _ in blocks.rows() for start in starts] == [start for start, _ in blocks.lattice.rows()]
    for starts, row in blocks.rows():
        assert {patch.start[0] for block in row for patch in block.patches} == set(starts)
        assert min(block.seen.start[0] for block in row) >= starts[0] - blocks.reach


@given(blocks())
def test_a_block_sees_its_patches_their_margin_and_the_halo(blocks):
    lattice = blocks.lattice
    extent = Box.whole(tuple(map(max, lattice.shape, lattice.patch)))
    for _, row in blocks.rows():
        for block in row:
            for patch in block.patches:
                whole = Box(patch.start, tuple(a + n for a, n in zip(patch.start, lattice.patch, strict=True)))
                around = whole.grow(blocks.halo).clip(extent).grow(lattice.margin)
                assert block.seen.contains(around)
                assert block.place(patch, lattice.patch) == whole.within(block.seen.start)


@given(blocks())
def test_blocks_are_no_larger_than_allowed_and_of_nearly_one_size(blocks):
    for parts, size in zip(blocks.parts, blocks.size, strict=True):
        lengths = [len(part) for part in parts]
        assert max(lengths) <= size
        assert max(lengths) - min(lengths) <= 1


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
