from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine import WINDOWS, Pixels, Recipe, Scores, SweepObserver, sweep
from pipeline.engine.windows import MIN_WEIGHT, Weights, window
from pipeline.errors import Interrupted, RequestError
from pipeline.geometry import Box, Lattice, cut_slabs, reflect
from pipeline.sources.reoriented import ReorientedSource
from tests.support.fakes import ArraySink, ArraySource, Identity, swept
from tests.support.observers import Callbacks
from tests.support.properties import LATTICES_2D, LATTICES_3D, identity_error, image

SEED = st.integers(0, 2**16)
WINDOW = st.sampled_from(WINDOWS)


@given(LATTICES_2D | LATTICES_3D, WINDOW, SEED)
def test_identity_network_gives_the_input_back(lattice, kind, seed):
    assert identity_error(lattice, kind, seed) <= 2e-6


@pytest.mark.parametrize("kind", WINDOWS)
def test_identity_holds_with_more_than_255_overlaps(kind):
    assert identity_error(Lattice((40, 40), (18, 18), (17, 17), (0, 0)), kind, 0) <= 2e-6
    assert identity_error(Lattice((700, 3), (300, 2), (299, 1), (0, 0)), kind, 0) <= 2e-6


@given(LATTICES_2D | LATTICES_3D, WINDOW)
def test_weights_sum_to_one_and_never_reach_zero(lattice, kind):
    total = np.zeros(lattice.shape)
    weights = Weights(lattice, kind)
    for _, row in lattice.rows():
        for patch in row:
            assert weights.of(patch).min() > 0
            total[patch.slices] += weights.of(patch)
    np.testing.assert_allclose(total, 1, atol=2e-6)


@given(WINDOW, st.integers(1, 700))
def test_windows_are_symmetric_and_floored(kind, length):
    weights = window(kind, length)
    np.testing.assert_allclose(weights, weights[::-1], rtol=1e-12)
    assert weights.min() >= MIN_WEIGHT
    assert weights.max() <= 1


def test_an_unknown_window_names_the_known_ones():
    with pytest.raises(RequestError, match="unknown window 'box'; choose one of constant, linear, hann, gaussian"):
        window("box", 4)


@given(LATTICES_2D | LATTICES_3D, SEED, st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.integers(1, 3))
def test_any_cut_into_bands_strips_and_runs_gives_the_same_bytes(lattice, seed, height, width, parts, batch):
    source = ArraySource(image(lattice.shape, seed))
    network = Identity(2, lattice.margin)
    whole = swept(source, network, lattice)
    cut = swept(source, Identity(2, lattice.margin, batch, 3), lattice, height=height, width=width, parts=parts)
    assert whole.tobytes() == cut.tobytes()


@given(LATTICES_3D.filter(lambda lattice: lattice.patch[0] == 1 and lattice.margin[0] == 0), WINDOW, SEED)
def test_a_volume_equals_its_slices_as_scenes(lattice, kind, seed):
    values = image(lattice.shape, seed)
    volume = swept(ArraySource(values), Identity(2, lattice.margin), lattice, window=kind)
    flat = Lattice(lattice.shape[1:], lattice.patch[1:], lattice.overlap[1:], lattice.margin[1:])
    for z in range(lattice.shape[0]):
        scene = swept(ArraySource(values[:, z]), Identity(2, flat.margin), flat, window=kind)
        assert volume[:, z].tobytes() == scene.tobytes()


@dataclass
class Neighbours(Identity):
    """Scores are the mean over the slices of the margin: what a 2.5-D network sees."""

    def __call__(self, values, valid):
        return values.mean(axis=2, keepdims=True, dtype=np.float32)


@given(st.integers(1, 9), st.integers(0, 3), SEED)
def test_the_margin_shows_neighbouring_slices_mirrored_at_the_ends(depth, margin, seed):
    values = image((depth, 7, 5), seed)
    lattice = Lattice((depth, 7, 5), (1, 4, 4), (0, 1, 2), (margin, 0, 0))
    result = swept(ArraySource(values), Neighbours(2, lattice.margin), lattice)
    for z in range(depth):
        expected = values[:, reflect(z - margin, z + margin + 1, depth)].mean(axis=1, dtype=np.float32)
        np.testing.assert_allclose(result[:, z], expected, atol=2e-6)


@given(LATTICES_2D, SEED)
def test_labels_are_the_argmax_and_nodata_where_nothing_was_observed(lattice, seed):
    values = image(lattice.shape, seed, channels=4)
    valid = np.random.default_rng(seed).random(lattice.shape) > 0.4
    labels = swept(ArraySource(values, valid), Identity(4, lattice.margin), lattice, window="constant", labels=True)
    assert (labels[~valid] == 255).all()
    assert (labels[valid] == values.argmax(axis=0)[valid]).all()


def test_a_tie_goes_to_the_lowest_class():
    lattice = Lattice((5, 5), (3, 3), (1, 1), (0, 0))
    labels = swept(ArraySource(np.ones((3, 5, 5), np.float32)), Identity(3, (0, 0)), lattice, labels=True)
    assert (labels == 0).all()


@dataclass
class Counting(Identity):
    calls: int = 0

    def __call__(self, values, valid):
        self.calls += len(values)
        return super().__call__(values, valid)


def test_patches_without_an_observation_are_not_predicted():
    valid = np.zeros((40, 40), np.bool_)
    valid[:10, :10] = True
    network = Counting(1, (0, 0), threads=1)
    swept(ArraySource(np.ones((1, 40, 40), np.float32), valid), network, Lattice((40, 40), (10, 10), (0, 0), (0, 0)))
    assert network.calls == 1


@given(LATTICES_2D | LATTICES_3D, st.integers(1, 7), st.integers(1, 12))
def test_every_input_row_is_read_once_and_block_by_block(lattice, block, height):
    source = ArraySource(image(lattice.shape, 0), block=(block, 1, 1))
    swept(source, Identity(2, lattice.margin), lattice, height=height)
    rows = sorted({(box.start[0], box.stop[0]) for box in source.reads})
    assert sum(box.size for box in source.reads) == Box.whole(lattice.shape).size
    assert [a for a, _ in rows] == [0, *(b for _, b in rows[:-1])]
    assert rows[-1][1] == lattice.shape[0]
    stride = lattice.patch[0] - lattice.overlap[0]
    if block <= 4 * stride:
        assert all(b % block == 0 for _, b in rows[:-1])


def test_the_blocks_of_a_row_are_read_side_by_side_so_that_no_more_rows_are_read_ahead():
    source = ArraySource(image((24, 70), 0), block=(8, 16))
    swept(source, Identity(2, (0, 0)), Lattice((24, 70), (8, 8), (0, 0), (0, 0)))
    columns = [(box.start[1], box.stop[1]) for box in sorted(source.reads)]
    assert columns == [(0, 32), (32, 70)] * 3


@pytest.mark.parametrize("turn", [None, ((0, 1, 2), (False, False, True))], ids=["as it is", "mirrored"])
def test_a_packed_source_is_read_by_one_thread_from_front_to_back(turn):
    """Two threads would have it unpacked from the start whenever the second is first."""

    class Packed(ArraySource):
        sequential = True
        busy = threading.Lock()

        def read(self, box: Box) -> Pixels:
            if not self.busy.acquire(blocking=False):
                raise AssertionError("two reads at once")
            time.sleep(0.002)
            self.busy.release()
            return super().read(box)

    packed = Packed(image((90, 4, 4), 0))
    source = packed if turn is None else ReorientedSource(packed, *turn)
    swept(source, Identity(2, (1, 0, 0)), Lattice((90, 4, 4), (1, 4, 4), (0, 0, 0), (1, 0, 0)), height=16)
    starts = [box.start[0] for box in packed.reads]
    assert starts == sorted(starts)
    assert 90 / 8 <= len(starts) <= 90 / 4


def test_reading_predicting_and_writing_overlap_in_time():
    """The first write and the last read each wait for the other's neighbour: only a concurrent engine gets through."""
    reached = threading.Barrier(3, timeout=20)
    met = []

    def meet(name):
        reached.wait()
        met.append(name)

    class Source(ArraySource):
        def read(self, box: Box) -> Pixels:
            if box.start[0] == 24:
                meet("read")
            return super().read(box)

    class Network(Identity):
        def __call__(self, values, valid):
            if values[0, 0, 0, 0] == 12:
                meet("predict")
            return super().__call__(values, valid)

    rows = np.broadcast_to(np.arange(40, dtype=np.float32)[None, :, None], (1, 40, 4)).copy()
    lattice = Lattice((40, 4), (4, 4), (0, 0), (0, 0))

    def write(slab):
        if slab.start[0] == 0:
            meet("write")

    swept(
        Source(rows, block=(4, 4)),
        Network(1, (0, 0), threads=1),
        lattice,
        height=4,
        observer=Callbacks(slab_done=write),
    )
    assert sorted(met) == ["predict", "read", "write"]


@pytest.mark.parametrize("where", ["read", "predict", "write"])
def test_a_fault_anywhere_ends_the_sweep_with_that_fault(where):
    def fail(*args):
        raise OSError(f"{where} failed")

    source, network = ArraySource(np.ones((1, 64, 8), np.float32)), Identity(1, (0, 0))
    observer = Callbacks(slab_done=fail) if where == "write" else SweepObserver()
    if where == "read":
        source.read = fail
    if where == "predict":
        network = type("Failing", (Identity,), {"__call__": fail})(1, (0, 0))
    with pytest.raises(OSError, match=f"{where} failed"):
        swept(source, network, Lattice((64, 8), (8, 8), (2, 2), (0, 0)), height=8, observer=observer)


def test_a_stopped_sweep_keeps_its_bands_and_says_how_to_go_on():
    stop, done = threading.Event(), []

    def committed(slab):
        done.append(slab)
        stop.set()

    lattice = Lattice((64, 8), (8, 8), (2, 2), (0, 0))
    source = ArraySource(np.ones((1, 64, 8), np.float32))
    with pytest.raises(Interrupted, match="run the same command again"):
        swept(source, Identity(1, (0, 0)), lattice, height=8, observer=Callbacks(stop, slab_done=committed))
    assert done
    assert len(done) < 8


def test_memory_does_not_grow_with_the_input():
    """Rows held at any time are bounded by the patch, not by the image."""
    lattice = Lattice((400, 8), (8, 8), (4, 4), (0, 0))
    read, final = [0], [0]

    class Source(ArraySource):
        def read(self, box):
            read[0] = max(read[0], box.stop[0])
            assert read[0] - final[0] <= 8 * 8
            return super().read(box)

    def committed(slab):
        final[0] = slab.stop[0]

    swept(
        Source(image(lattice.shape, 0)), Identity(2, (0, 0)), lattice, height=4, observer=Callbacks(slab_done=committed)
    )
    assert final[0] == 400


class Fragile(Identity):
    """A network that cannot do patches with a value above 100, or gives them scores that are none."""

    def __call__(self, values, valid):
        if values.max() > 200:
            return np.full((len(values), 1, *values.shape[2:]), np.nan, np.float32)
        if values.max() > 100:
            raise ArithmeticError("too large")
        return super().__call__(values, valid)


def marked(value, *cells):
    """An image of ones but for some cells."""
    rows = np.ones((1, 64, 24), np.float32)
    for cell in cells:
        rows[(0, *cell)] = value
    return rows


@pytest.mark.parametrize("value", [150, 250])
@pytest.mark.parametrize("batch", [1, 4])
def test_a_patch_that_fails_is_nodata_and_the_bands_that_hold_it_are_not_whole(value, batch):
    lattice = Lattice((64, 24), (8, 8), (2, 2), (0, 0))
    network = Fragile(1, (0, 0), batch=batch)
    rows, wholes = marked(value, (20, 3)), {}

    class Noting(ArraySink):
        def write(self, slab, values, *, whole=True):
            super().write(slab, values)
            wholes[slab.start[0]] = whole

    sink = Noting.like((1,), (64, 24), np.float32)
    slabs = cut_slabs((64, 24), 8)
    failures = sweep(ArraySource(rows), network, sink, Recipe(lattice, "gaussian", (Scores((1,)),)), slabs)
    assert [failure.patch for failure in failures] == [Box((18, 0), (26, 8))]
    assert "too large" in failures[0].reason or "not finite" in failures[0].reason
    expected = np.ones((64, 24), bool)
    expected[18:26, 0:8] = False
    np.testing.assert_array_equal(np.isfinite(sink.values[0]), expected)
    np.testing.assert_allclose(sink.values[0][expected], 1, atol=2e-6)
    assert wholes == {top: top not in (16, 24) for top in range(0, 64, 8)}


def test_a_network_that_fails_everywhere_or_too_often_ends_the_sweep():
    lattice = Lattice((64, 24), (8, 8), (0, 0), (0, 0))
    everywhere = ArraySource(np.full((1, 64, 24), 150, np.float32))
    with pytest.raises(ArithmeticError, match="too large"):
        swept(everywhere, Fragile(1, (0, 0)), lattice)
    often = ArraySource(marked(150, *((row, column) for row in range(8, 64, 8) for column in (0, 8, 16))))
    with pytest.raises(ArithmeticError, match="too large"):
        swept(often, Fragile(1, (0, 0)), lattice)
