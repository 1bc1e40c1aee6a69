from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.geometry import Box, Grid, Lattice, cut_slabs, reflect, split_runs

axis = st.integers(1, 9).flatmap(
    lambda patch: st.tuples(st.integers(1, 3 * patch + 1), st.just(patch), st.integers(0, patch - 1), st.integers(0, 2))
)
lattices = st.lists(axis, min_size=2, max_size=3).map(lambda axes: Lattice(*zip(*axes, strict=True)))
boxes = st.lists(st.tuples(st.integers(-5, 20), st.integers(0, 9)), min_size=1, max_size=3).map(
    lambda pairs: Box(tuple(a for a, _ in pairs), tuple(a + n for a, n in pairs))
)


@given(lattices)
def test_patches_cover_every_cell_and_stay_inside(lattice):
    hits = np.zeros(lattice.shape, int)
    patches = [patch for _, row in lattice.rows() for patch in row]
    for patch in patches:
        assert Box.whole(lattice.shape).contains(patch)
        hits[patch.slices] += 1
    assert hits.min() >= 1
    assert len(patches) == len(lattice)
    assert patches == sorted(patches, key=lambda patch: patch.start)


@given(lattices)
def test_every_patch_is_whole_where_the_grid_is_large_enough(lattice):
    for _, row in lattice.rows():
        for patch in row:
            assert patch.shape == tuple(map(min, lattice.patch, lattice.shape))
            assert lattice.input_box(patch.start).shape == lattice.input_shape


@given(st.integers(1, 400), st.integers(1, 40), st.data())
def test_neighbours_share_at_least_the_overlap(size, patch, data):
    overlap = data.draw(st.integers(0, patch - 1))
    starts = Lattice((size,), (patch,), (overlap,), (0,)).starts[0]
    assert starts[0] == 0
    assert starts[-1] == max(0, size - patch)
    assert all(0 < b - a <= patch - overlap for a, b in pairwise(starts))


@given(st.lists(st.integers(1, 30), min_size=2, max_size=3), st.integers(1, 31), st.integers(1, 31), st.integers(1, 9))
def test_bands_and_runs_partition_the_grid(shape, height, width, parts):
    hits = np.zeros(shape, int)
    slabs = cut_slabs(tuple(shape), height, width)
    runs = split_runs(slabs, parts)
    assert tuple(slab for run in runs for slab in run) == slabs
    for run in runs:
        hits[Box(run[0].start, run[-1].stop).slices] += 1
        assert sum(slab.size for slab in run) == Box(run[0].start, run[-1].stop).size
    assert (hits == 1).all()
    assert len(runs) >= min(parts, len(slabs))


def test_runs_end_at_gaps():
    slabs = cut_slabs((10, 4), 2)
    assert split_runs([slabs[0], slabs[1], slabs[3]], 1) == ((slabs[0], slabs[1]), (slabs[3],))


@given(st.integers(1, 12), st.integers(0, 30), st.integers(0, 30))
def test_reflect_is_numpy_reflect(size, before, after):
    padded = np.pad(np.arange(size), (before, after), mode="reflect")
    assert reflect(-before, size + after, size).tolist() == padded.tolist()


@given(boxes, st.data())
def test_clip_is_the_cells_in_both(box, data):
    other = data.draw(boxes.filter(lambda b: len(b.start) == len(box.start)))
    both = box.clip(other)
    assert both.size == 0 or (box.contains(both) and other.contains(both))
    cells = [
        set(range(a, b)) & set(range(c, d))
        for a, b, c, d in zip(box.start, box.stop, other.start, other.stop, strict=True)
    ]
    assert both.size == np.prod([len(axis) for axis in cells])


def test_values_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="must not stop before it starts"):
        Box((3,), (2,))
    with pytest.raises(ValueError, match="overlap 4 from 0 to less than the patch"):
        Lattice((9, 9), (4, 4), (4, 0), (0, 0))
    with pytest.raises(ValueError, match="affine of 3 x 3"):
        Grid((4, 4), ((1.0, 0.0), (0.0, 1.0)), ("y", "x"))


def test_spacing_is_the_length_of_the_affine_columns():
    grid = Grid((4, 4), ((0.0, 3.0, 9.0), (-4.0, 0.0, 9.0), (0.0, 0.0, 1.0)), ("y", "x"))
    assert grid.spacing == (4.0, 3.0)
