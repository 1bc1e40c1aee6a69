"""Fewer cells: the same as of the whole array, whatever the slabs."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources import shrink
from pipeline.sources.shrink import averaged, cells_at, sampled
from tests.support.fakes import ArraySource

LENGTHS = st.integers(1, 40)


@given(LENGTHS, LENGTHS, st.integers(1, 7), st.data())
def test_averages_are_those_of_equal_parts(rows, columns, at_once, data):
    shape = data.draw(st.integers(1, rows)), data.draw(st.integers(1, columns))
    rng = np.random.default_rng(rows * 41 + columns)
    values = rng.integers(0, 255, (2, rows, columns)).astype(np.uint8)
    valid = rng.random((rows, columns)) < 0.6
    found = _with_slabs(at_once, lambda: averaged(ArraySource(values, valid), shape))
    ends = [np.arange(parts + 1) * length // parts for length, parts in zip((rows, columns), shape, strict=True)]
    for row in range(shape[0]):
        for column in range(shape[1]):
            part = np.s_[ends[0][row] : ends[0][row + 1], ends[1][column] : ends[1][column + 1]]
            seen = valid[part]
            assert (found.valid is None or found.valid[row, column]) == seen.any()
            expected = values[(slice(None), *part)][:, seen].mean(axis=1) if seen.any() else 0
            np.testing.assert_allclose(found.values[:, row, column], expected, rtol=1e-6)


@given(LENGTHS, LENGTHS, st.integers(1, 7), st.data())
def test_samples_are_cells_inside_their_parts(rows, columns, at_once, data):
    shape = data.draw(st.integers(1, rows)), data.draw(st.integers(1, columns))
    values = np.arange(rows * columns, dtype=np.uint16).reshape(1, rows, columns)
    found = _with_slabs(at_once, lambda: sampled(ArraySource(values), shape)).values[0]
    for axis, (length, parts, place) in enumerate(
        zip((rows, columns), shape, (found // columns, found % columns), strict=True)
    ):
        share = np.moveaxis(place, axis, 0)[:, 0] * parts / length
        assert (np.floor(share) <= np.arange(parts)).all()
        assert (share > np.arange(parts) - 1).all()


def test_cells_of_a_volume_are_those_of_its_array():
    values = np.random.default_rng(1).integers(0, 9, (1, 5, 6, 7)).astype(np.uint8)
    at = [np.array([0, 3]), np.array([1, 2, 5]), np.array([6])]
    assert (cells_at(ArraySource(values), at).values == values[(slice(None), *np.ix_(*at))]).all()


def _with_slabs(at_once, call):
    before, shrink._AT_ONCE = shrink._AT_ONCE, at_once
    try:
        return call()
    finally:
        shrink._AT_ONCE = before
