"""Blended sums to the last bit: against one array of the whole grid to which patches are added one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.engine import WINDOWS, Confidence, Disagreement, Labels, Probabilities, Recipe, Scores, fused, sweep
from pipeline.engine.arrays import HostArrays
from pipeline.engine.blend import COMPENSATED_OVERLAPS, Blend
from pipeline.engine.fused import Loader
from pipeline.engine.windows import Weights
from pipeline.geometry import Box, Lattice, cut_slabs
from pipeline.testing import boxes
from tests.support.fakes import ArraySource, Identity
from tests.support.properties import LATTICES_2D, LATTICES_3D, image


@pytest.fixture(params=["NumPy", "LLVM"], autouse=True)
def compiled(request, monkeypatch):
    """Everything by NumPy, and by kernels where they can."""
    loader = Loader()
    if request.param == "LLVM":
        pytest.importorskip("llvmlite")
        monkeypatch.setattr(fused, "LEAST_CELLS", 0)
        loader.ask(1)
        assert loader._coming.result() is not None
    monkeypatch.setattr(fused, "LOADER", loader)


SEED = st.integers(0, 2**16)
AT_ONCE = st.integers(1, 400)
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
"""Examples share what is compiled."""


def patches_of(lattice):
    return [patch for _, row in lattice.rows() for patch in row]


def summed(lattice, weights, scores):
    """Sums of the whole grid; `scores` by patch, None for zeros."""
    classes = next(len(each) for each in scores.values())
    total, lost = (np.zeros((classes, *lattice.shape), np.float32) for _ in range(2))
    seen = np.zeros(lattice.shape, np.bool_)
    for patch in patches_of(lattice):
        at = (slice(None), *patch.slices)
        term = scores[patch] * weights.of(patch)
        if lattice.max_overlaps > COMPENSATED_OVERLAPS:
            exact = np.where(seen[patch.slices], term - lost[at], term)
            after = np.where(seen[patch.slices], total[at] + exact, term)
            lost[at] = np.where(seen[patch.slices], (after - total[at]) - exact, 0)
        else:
            after = np.where(seen[patch.slices], term + total[at], term)
        total[at] = after
        seen[patch.slices] = True
    return total


@SHARED
@given(LATTICES_2D | LATTICES_3D, st.sampled_from(WINDOWS), st.integers(1, 4), AT_ONCE, SEED, st.data())
def test_sums_are_those_of_one_array_to_which_patches_are_added(lattice, kind, classes, at_once, seed, data):
    region, rng = data.draw(boxes(lattice.shape)), np.random.default_rng(seed)
    weights, blend = Weights(lattice, kind), Blend(classes, lattice, region, HostArrays(at_once))
    given = {p: None if rng.random() < 0.1 else rng.normal(size=(classes, *p.shape)) for p in patches_of(lattice)}
    given = {patch: None if scores is None else scores.astype(np.float32) for patch, scores in given.items()}
    zeros = {patch: np.zeros((classes, *patch.shape), np.float32) for patch in given}
    found = np.full((classes, *lattice.shape), np.nan, np.float32)
    for patch, scores in given.items():
        if patch.clip(region).size:
            for cells, sums in blend.add(patch, scores, weights.of(patch)):
                for piece, values in sums.final():
                    assert np.isnan(found[(slice(None), *cells.slices)][(slice(None), *piece)]).all(), "decided twice"
                    found[(slice(None), *cells.slices)][(slice(None), *piece)] = values
    expected = summed(lattice, weights, {p: zeros[p] if s is None else s for p, s in given.items()})
    at = (slice(None), *region.slices)
    assert found[at].tobytes() == expected[at].tobytes()


@dataclass
class Cached(Identity):
    """The identity network, whose scores are decided a few cells at a time."""

    arrays: HostArrays = field(default_factory=HostArrays)


class Sinks:
    """An array for each decision."""

    def __init__(self, decisions, shape):
        self.values = [np.zeros((*each.planes, *shape), each.dtype) for each in decisions]

    def write(self, slab, values, *, whole=True):
        for to, written in zip(self.values, values, strict=True):
            to[(..., *slab.slices)] = written


@pytest.mark.parametrize("labels", [Labels(), Labels(np.dtype(np.uint16), 65535)])
@SHARED
@given(LATTICES_2D | LATTICES_3D, AT_ONCE, st.integers(1, 40), st.booleans(), SEED)
def test_every_decision_is_that_of_the_whole_array(labels, lattice, at_once, height, logits, seed):
    decisions = (labels, Confidence(logits), Probabilities((3,), logits), Scores((3,)), Disagreement())
    values, sinks = image(lattice.shape, seed, 3), Sinks(decisions, lattice.shape)
    values = np.round(values * 4) if logits else values / values.sum(0)
    valid = np.random.default_rng(seed).random(lattice.shape) > 0.2
    network = Cached(3, lattice.margin, arrays=HostArrays(at_once))
    (run,) = [cut_slabs(lattice.shape, height)]
    sweep(ArraySource(values, valid), network, sinks, Recipe(lattice, "hann", decisions), run)
    own = {patch: values[(slice(None), *patch.slices)] for patch in patches_of(lattice)}
    squares = {patch: HostArrays().with_squares(scores[None])[0] for patch, scores in own.items()}
    sums = summed(lattice, Weights(lattice, "hann"), squares)
    for decision, found in zip(decisions, sinks.values, strict=True):
        expected = np.zeros_like(found)
        decision(sums if decision.needs_second_moment else sums[:3], expected)
        expected[..., ~valid] = decision.nodata
        assert found.tobytes() == expected.tobytes()


@SHARED
@given(LATTICES_2D | LATTICES_3D, st.sampled_from([np.uint8, np.uint16]), st.integers(1, 5), st.booleans(), SEED)
def test_labels_alone_are_those_of_sums_with_ties_and_infinities(lattice, dtype, classes, nodata, seed):
    rng, decision = np.random.default_rng(seed), Labels(np.dtype(dtype))
    values = rng.choice(np.float32([-3e38, -1, -0.0, 0.0, 1e-42, 1, 2, 3e38]), (classes, *lattice.shape))
    valid = rng.random(lattice.shape) > 0.2 if nodata else None
    sink = Sinks((decision,), lattice.shape)
    run = cut_slabs(lattice.shape, 7)
    sweep(ArraySource(values, valid), Cached(classes, lattice.margin), sink, Recipe(lattice, "hann", (decision,)), run)
    own = {patch: values[(slice(None), *patch.slices)] for patch in patches_of(lattice)}
    with np.errstate(over="ignore", invalid="ignore"):
        sums = summed(lattice, Weights(lattice, "hann"), own)
    expected = np.zeros_like(sink.values[0])
    decision(sums, expected)
    if valid is not None:
        expected[~valid] = 255
    np.testing.assert_array_equal(sink.values[0], expected)


def test_a_piece_has_no_more_cells_than_are_asked_for_at_once():
    lattice = Lattice((30, 40), (12, 16), (4, 8), (0, 0))
    blend, weights = Blend(3, lattice, Box.whole(lattice.shape), HostArrays(60)), Weights(lattice, "hann")
    largest = 0
    for patch in patches_of(lattice):
        for _, sums in blend.add(patch, np.ones((3, *patch.shape), np.float32), weights.of(patch)):
            largest = max([largest, *(values.size for _, values in sums.final())])
    assert 30 < largest <= 60
