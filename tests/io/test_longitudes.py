"""Outlines across 180 degrees are cut there, and lose nothing: the parts cover what the outline covers."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from pipeline.io.longitudes import bounds, cut, unwrap


def box_at(west: float, width: float, south: float, height: float) -> np.ndarray:
    """A closed outline in steps of at most a sixteenth of a side, its longitudes from -180 to 180."""
    there = np.linspace(0, 1, 17)
    x = np.concatenate([there, np.ones(16), there[-2::-1], np.zeros(16)])
    y = np.concatenate([np.zeros(17), there[1:], np.ones(16), there[-2::-1]])
    return np.column_stack([(west + width * x + 180) % 360 - 180, south + height * y])


@given(west=st.floats(-180, 180), width=st.floats(0.01, 300), south=st.floats(-80, 60), height=st.floats(0.01, 20))
def test_parts_cover_the_outline_within_180_degrees(west, width, south, height):
    ring = unwrap(box_at(west, width, south, height))
    parts = [shapely.Polygon(part) for part in cut(ring)]
    assert all(part.is_valid and -180 <= part.bounds[0] < part.bounds[2] <= 180 for part in parts)
    assert sum(part.area for part in parts) == pytest.approx(width * height, rel=1e-6)
    assert shapely.union_all(parts).area == pytest.approx(width * height, rel=1e-6)
    found = bounds(ring)
    crosses = len(parts) > 1
    assert (found[0] > found[2]) == crosses
    np.testing.assert_allclose([found[1], found[3]], [south, south + height])
    if crosses:
        assert found[0] == pytest.approx(max(part.bounds[0] for part in parts))
        assert found[2] == pytest.approx(min(part.bounds[2] for part in parts))


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("turn", [1, -1])
def test_an_outline_around_a_pole_reaches_it(side, turn):
    around = np.linspace(10, 10 + turn * 360, 25)
    ring = unwrap(np.column_stack([(around + 180) % 360 - 180, np.full(25, side * 70.0)]))
    parts = [shapely.Polygon(part) for part in cut(ring)]
    assert all(part.is_valid for part in parts)
    assert shapely.union_all(parts).equals(shapely.box(-180, min(side * 70, side * 90), 180, max(side * 70, side * 90)))
    assert bounds(ring)[::2] == (-180, 180)


def test_the_whole_globe_is_one_part():
    x = np.concatenate([np.linspace(-180, 180, 17), [180], np.linspace(180, -180, 17), [-180, -180]])
    y = np.concatenate([np.full(17, -90.0), [0], np.full(17, 90.0), [0, -90]])
    (part,) = cut(unwrap(np.column_stack([x, y])))
    assert shapely.Polygon(part).equals(shapely.box(-180, -90, 180, 90))
    assert bounds(unwrap(np.column_stack([x, y]))) == (-180, -90, 180, 90)
