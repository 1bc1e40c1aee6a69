"""Compiled kernels: the bytes of NumPy, loaded for large runs alone, and never in the way."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from pipeline.engine import fused
from pipeline.engine.arrays import HOST
from pipeline.engine.fused import LEAST_CELLS, Loader
from pipeline.geometry import Lattice
from tests.support.fakes import ArraySource, Identity, swept

pytest.importorskip("llvmlite")
sweeping = import_module("pipeline.engine.sweep")
SHAPE = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 40) | st.just(70))
ANY = st.sampled_from([-np.inf, -3e38, -1.5, -0.0, 0.0, 1e-42, 0.1, 1 / 3, 3e38, np.inf, np.nan]) | st.floats(width=32)


@st.composite
def arrays(draw):
    """Scores, weights and what was carried over, with gaps between rows and any values."""
    planes, rows, columns = draw(SHAPE)
    shapes = (planes, rows, columns + 3), (rows, columns + 3), (planes, rows, columns + 3)
    return [draw(st_np.arrays(np.float32, shape, elements=ANY))[..., 1:-2] for shape in shapes]


@given(arrays())
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_kernels_give_the_bits_of_numpy(given):
    from pipeline.engine import kernels

    scores, weights, carried = given
    product, total = np.empty_like(scores), np.empty_like(scores)
    kernels.multiply(scores, weights, product)
    kernels.multiply_add(scores, weights, carried, total)
    for found, expected in ((product, scores * weights), (total, scores * weights + carried)):
        known = ~np.isnan(expected)  # a NaN may be any
        np.testing.assert_array_equal(~np.isnan(found), known)
        assert found[known].tobytes() == expected[known].tobytes()
    labels, expected = np.empty((2, *scores.shape[1:]), np.uint8), np.empty((2, *scores.shape[1:]), np.uint8)
    kernels.label(scores, labels[0])
    kernels.label_sums(scores, weights, carried, labels[1])
    HOST.argmax(scores, expected[0])
    HOST.argmax(scores * weights + carried, expected[1])
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("ahead", [(0, 0), (0, 1), (0, 40), (1, 0), (2, 3)])
def test_sums_may_be_written_before_what_was_carried_over_in_the_same_array(ahead):
    from pipeline.engine import kernels

    rng = np.random.default_rng(0)
    scores, weights, carried = (rng.random(shape, np.float32) for shape in ((3, 9, 75), (9, 75), (3, 11, 115)))
    there = carried[:, ahead[0] : ahead[0] + 9, ahead[1] : ahead[1] + 75]
    expected = scores * weights + there
    kernels.multiply_add(scores, weights, there, carried[:, :9, :75])
    np.testing.assert_array_equal(carried[:, :9, :75], expected)


@pytest.mark.parametrize(
    "scores",
    [
        np.ones((2, 3, 4)),
        np.ones((2, 3, 4), ">f4"),
        np.ones((2, 3, 8), np.float32)[..., ::2],
        np.ones(97, np.uint8)[1:].view(np.float32).reshape(2, 3, 4),
        np.broadcast_to(np.float32(1), (2, 3, 4)),
    ],
    ids=["float64", "big-endian", "gaps", "not aligned", "one value"],
)
def test_arrays_of_another_kind_are_left_to_numpy(monkeypatch, scores):
    loader = Loader()
    loader.ask(LEAST_CELLS)
    assert loader._coming.result() is not None
    monkeypatch.setattr(fused, "LOADER", loader)
    plain, labels = np.ones((2, 3, 4), np.float32), np.empty((3, 4), np.uint8)
    assert fused.label(plain, plain[0], None, labels)
    assert fused.store(plain, plain[0], None, plain[None].copy())
    assert not fused.label(scores, plain[0], None, labels)
    assert not fused.label(plain, plain[0], None, labels.astype(np.uint16))
    assert not fused.store(scores, plain[0], None, plain[None].copy())


def test_a_small_run_does_not_load_them():
    loader = Loader()
    loader.ask(LEAST_CELLS - 1)
    assert loader.kernels is None
    code = "import sys, pipeline.runs.segment, pipeline.engine.sweep; print('llvmlite' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["False"]


def waits(*seconds):
    """What takes these seconds to come and to be used, in turn, and the clock that says so."""
    times = iter(np.cumsum([0, *seconds]).tolist())
    return range(len(seconds) // 2), lambda: next(times)


@pytest.mark.parametrize(
    ("seconds", "asked_at"),
    [
        ((0.1, 0.06, 0.01, 0.06, 0.01, 0.06), 2),
        ((9, 0.06, 0, 0.06, 0, 0.06), None),  # blocks give many patches together
        ((0, 0.06, 0.2, 0.06, 0.2, 0.06), None),
        ((0, 0.06, 0.2, 0.06, 0.1, 0.3), 3),
        ((0, 0.01, 0, 0.01, 0, 0.01), None),  # too early to say
    ],
)
def test_kernels_are_asked_for_once_the_blend_holds_a_run_up(seconds, asked_at):
    found, clock = waits(*seconds)
    asked, used = [], set()
    for each in fused.asking(found, lambda: asked.append(len(used)), clock):
        used.add(each)
    assert used == {*found}
    assert asked == ([] if asked_at is None else [asked_at])


@pytest.mark.parametrize(("overlap", "added"), [((0, 0), 64 * 64), ((8, 8), 7 * 7 * 256)])
def test_cells_that_patches_share_count_as_often_as_they_are_added(monkeypatch, overlap, added):
    loader = Loader()
    asked = []
    monkeypatch.setattr(loader, "ask", asked.append)
    monkeypatch.setattr(sweeping, "LOADER", loader)
    monkeypatch.setattr(sweeping, "asking", lambda found, ask: (ask(), found)[1])
    lattice = Lattice((64, 64), (16, 16), overlap, (0, 0))
    swept(ArraySource(np.zeros((1, 64, 64), np.float32)), Identity(1, (0, 0)), lattice)
    assert asked == [added]


def test_a_large_run_goes_on_by_numpy_until_they_are_loaded():
    loader = Loader()
    loader.ask(LEAST_CELLS)
    assert loader._coming.result() is not None
    assert loader.kernels is loader._coming.result()


def test_a_compiler_that_fails_leaves_everything_to_numpy(monkeypatch):
    monkeypatch.setitem(sys.modules, "pipeline.engine.kernels", None)
    monkeypatch.delattr(sys.modules["pipeline.engine"], "kernels", raising=False)
    loader = Loader()
    loader.ask(LEAST_CELLS)
    assert loader._coming.result() is None
    assert loader.kernels is None
    monkeypatch.setattr(fused, "LOADER", loader)
    ones = np.ones((1, 2, 2), np.float32)
    assert not fused.store(ones, ones[0], None, ones[None])
