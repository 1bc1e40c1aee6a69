"""What values look like: the measures of plain NumPy, where samples lie, and what does not change them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine import Pixels
from pipeline.geometry import Box
from pipeline.sources.appearance import MEASURES, coarser, finer_by, look_of, looks_of, sample_boxes


def noise(shape, seed=0):
    rng = np.random.default_rng(seed)
    base = rng.normal(0, 20, shape[1:])
    return (100 + base + rng.normal(0, 10, shape)).astype(np.float32)


def test_measures_are_those_of_numpy():
    values = noise((3, 40, 50))
    values[:, 5:9, :7], valid = np.nan, np.ones((40, 50), bool)
    valid[20:30, 30:], values[:, 35:] = False, 0
    seen = valid & np.isfinite(values[0]) & (values != 0).any(0)
    found = dict(zip(MEASURES, look_of(Pixels(values, valid)), strict=True))
    for channel in range(3):
        own = values[channel][seen].astype(float)
        others = np.delete(values, channel, 0).mean(0)[seen].astype(float)
        steps = []
        for axis in (0, 1):
            both = np.delete(seen, 0, axis) & np.delete(seen, -1, axis)
            steps.append(np.abs(np.diff(values[channel].astype(float), axis=axis))[both])
        expected = {
            "level": own.mean(),
            "contrast": np.log(own.std()),
            "roughness": np.log(np.concatenate(steps).mean() / own.std()),
            "asymmetry": (own.mean() - np.median(own)) / own.std(),
            "agreement": np.corrcoef(own, others)[0, 1],
        }
        assert {name: found[name][channel] for name in MEASURES} == pytest.approx(expected, abs=1e-6)


@settings(max_examples=10)
@given(st.floats(0.01, 50), st.floats(-5, 5), st.integers(0, 9))
def test_only_level_and_contrast_depend_on_the_scale(scale, offset, seed):
    values = noise((2, 30, 30), seed).astype(np.float64)
    one, other = (dict(zip(MEASURES, look_of(Pixels(v, None)), strict=True)) for v in (values, values * scale + offset))
    for name in ("roughness", "asymmetry", "agreement"):
        np.testing.assert_allclose(other[name], one[name], atol=1e-5)


@pytest.mark.parametrize("axes", [(2, 1, 0), (1, 0, 2)])
def test_a_volume_looks_alike_however_it_is_turned(axes):
    values = noise((1, 20, 24, 28))
    turned = values.transpose(0, *(axis + 1 for axis in axes))[:, ::-1]
    np.testing.assert_allclose(look_of(Pixels(turned, None)), look_of(Pixels(values, None)), atol=1e-9)
    assert np.isnan(look_of(Pixels(values, None))[-1]).all(), "a single channel agrees with no other"


@pytest.mark.parametrize(
    "values", [np.zeros((1, 40, 40)), np.full((1, 40, 40), 7), np.full((1, 40, 40), np.nan), noise((1, 9, 9))]
)
def test_what_says_nothing_has_no_look(values):
    assert look_of(Pixels(values, None)) is None
    assert looks_of([Pixels(values, None)]) is None


@given(st.tuples(st.integers(1, 4000), st.integers(1, 4000)), st.integers(1, 5), st.integers(1, 9))
def test_samples_lie_inside_and_all_over(shape, places, finer):
    boxes = list(sample_boxes(Box.whole(shape), places, finer))
    assert len(boxes) == places**2
    assert all(box.size and Box.whole(shape).contains(box) for box in boxes)
    if places > 1 and min(shape) > 2000:
        assert {box.start[0] // (shape[0] // places) for box in boxes} == set(range(places))


def test_a_sample_of_finer_cells_is_averaged_to_those_of_the_model():
    values = noise((2, 300, 302)).astype(np.uint8)
    valid = np.ones((300, 302), bool)
    valid[7, 8] = False
    averaged, there = coarser(Pixels(values, valid), 3)
    np.testing.assert_allclose(averaged[:, 5, 6], values[:, 15:18, 18:21].mean((1, 2)))
    assert averaged.shape == (2, 100, 100)
    assert np.argwhere(~there).tolist() == [[2, 2]]
    assert [finer_by((0.5, 0.5), each) for each in ((0.1, 0.11), (0.5, 0.5), (5.0, 5.0), None)] == [5, 1, 1, 1]
