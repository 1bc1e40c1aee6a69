"""Blocks of patches that share features: the same contract as patches by themselves, and context beyond the patch."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field, replace
from operator import add
from threading import Event

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine import Recipe, Scores, block_network, sweep
from pipeline.errors import Interrupted
from pipeline.geometry import Block, Blocks, Box, Lattice, cut_slabs, padded_shape
from pipeline.geometry import blocks as blocks_module
from tests.geometry.test_blocks import blocks
from tests.support.fakes import ArraySink, ArraySource, BlockIdentity, Identity, swept
from tests.support.observers import Callbacks
from tests.support.properties import image

SEED = st.integers(0, 2**16)


@given(blocks(), SEED)
def test_the_identity_gives_the_input_back_as_patches_by_themselves_do(blocks, seed):
    lattice = blocks.lattice
    source = ArraySource(image(lattice.shape, seed))
    together = swept(source, BlockIdentity(2), lattice, blocks=blocks)
    assert together.tobytes() == swept(source, Identity(2, lattice.margin), lattice).tobytes()


@dataclass
class Smoothing(BlockIdentity):
    """Features are means over 3 by 3 cells in the plane, zeros outside of what is seen: a convolution."""

    def features(self, values):
        padded = np.pad(values.astype(np.float64), [(0, 0)] * (values.ndim - 2) + [(1, 1), (1, 1)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(-2, -1))
        return windows.mean((-2, -1))


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    SEED,
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 4),
)
def test_any_cut_into_slabs_strips_and_runs_gives_the_same_bytes(shape, size, seed, height, width, parts):
    lattice = Lattice(padded_shape(shape, (4, 4)), (8, 8), (4, 4), (0, 0))
    source = ArraySource(image(shape, seed))
    blocks = Blocks(lattice, size, (4, 4))
    whole = swept(source, Smoothing(2), lattice, blocks=blocks)
    cut = swept(source, Smoothing(2, threads=3), lattice, blocks=blocks, height=height, width=width, parts=parts)
    assert whole.tobytes() == cut.tobytes()


@dataclass
class Remembered(ArraySource):
    """Knows which of the values that it gave are still in memory."""

    given: list[tuple[Box, weakref.ref]] = field(default_factory=list)

    def read(self, box):
        pixels = super().read(box)
        self.given.append((box, weakref.ref(pixels.values)))
        return pixels

    @property
    def first_held(self) -> int:
        """First row that is held."""
        return min((box.start[0] for box, values in self.given if values() is not None), default=-1)


@dataclass
class Asking(BlockIdentity):
    """Records what of `source` is in memory while scores are made."""

    source: Remembered | None = None
    held: list[int] = field(default_factory=list)

    def scores(self, joined):
        self.held.append(self.source.first_held)
        return super().scores(joined)


def test_values_are_dropped_as_soon_as_their_blocks_are_computed():
    """Not when their patches are blended: of those that still need their rows, validity is known."""
    shape = (64, 8)
    source = Remembered(image(shape, 0), np.ones(shape, np.bool_), block=(4, 8))
    lattice = Lattice(shape, (8, 8), (4, 4), (0, 0))
    network = Asking(2, source=source)
    swept(source, network, lattice, blocks=Blocks(lattice, (16, 8), (0, 0)))
    edges = Blocks(lattice, (16, 8), (0, 0)).edges[0]
    following = [next(edge for edge in edges if edge >= start + 8) for start in lattice.starts[0]]
    last = edges[-2]
    seen = [held for held, edge in zip(network.held, following, strict=True) if edge <= last]
    assert seen == [edge for edge in following if edge <= last]


SHAPE = (40, 36)
LATTICE = Lattice(SHAPE, (8, 8), (4, 4), (0, 0))


def smoothed(size: tuple[int, int], halo: tuple[int, int]) -> np.ndarray:
    """An image through a convolution, in blocks."""
    source, blocks = ArraySource(image(SHAPE, 0)), Blocks(LATTICE, size, halo)
    return swept(source, Smoothing(2), LATTICE, blocks=blocks, window="constant")


def test_with_a_halo_as_wide_as_the_network_sees_blocks_of_all_sizes_give_what_one_block_gives():
    whole = smoothed((99, 99), (0, 0))
    for size in ((1, 1), (8, 12), (5, 16)):
        np.testing.assert_allclose(smoothed(size, (1, 1)), whole, atol=1e-6)
        assert np.abs(smoothed(size, (0, 0)) - whole).max() > 1e-2


def differs(halo: tuple[int, int] = (1, 1)) -> bool:
    """Whether small blocks give anything but what they should."""
    return bool(np.abs(smoothed((12, 12), halo) - smoothed((99, 99), (0, 0))).max() > 1e-2)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_halo_that_is_forgotten_on_one_side_is_caught(monkeypatch, axis):
    whole = Blocks._block

    def cut(self, at):
        block = whole(self, at)
        start = list(block.seen.start)
        start[axis] = block.cells.start[axis]
        return replace(block, seen=Box(tuple(start), block.seen.stop))

    assert not differs()
    monkeypatch.setattr(Blocks, "_block", cut)
    assert differs()


@pytest.mark.parametrize("axis", [0, 1])
def test_a_patch_that_takes_its_part_from_elsewhere_is_caught(monkeypatch, axis):
    cut = Block.cut

    def shifted(self, patch, shape):
        found = cut(self, patch, shape)
        step = tuple(-1 if at == axis and found.place.start[at] else 0 for at in range(2))
        return replace(
            found, place=Box(*(tuple(map(add, corner, step)) for corner in (found.place.start, found.place.stop)))
        )

    monkeypatch.setattr(Block, "cut", shifted)
    assert differs()


def test_pieces_that_change_places_are_caught(monkeypatch):
    put = block_network._Pieces.put

    def swapped(self, patch, cut, given):
        pieces = put(self, patch, cut, given)
        if len(pieces) < 2:
            return pieces
        (first, one), (second, other), *rest = pieces
        return [(first, other), (second, one), *rest]

    assert not differs()
    monkeypatch.setattr(block_network._Pieces, "put", swapped)
    assert differs()


def test_blocks_that_move_with_the_run_are_caught(monkeypatch):
    """Without a halo as wide as the network sees, other blocks give other bytes."""
    before, edges = smoothed((12, 12), (0, 0)), blocks_module._edges

    def moved(ends, size):
        first, _, *others = edges(ends, size)
        return first, *others

    assert smoothed((12, 12), (0, 0)).tobytes() == before.tobytes()
    monkeypatch.setattr(blocks_module, "_edges", moved)
    assert smoothed((12, 12), (0, 0)).tobytes() != before.tobytes()


@dataclass
class Noting(BlockIdentity):
    calls: list[int] = field(default_factory=list)

    def pieces(self, values, valid, cuts):
        self.calls.append(len(cuts))
        return super().pieces(values, valid, cuts)


def test_patches_without_an_observation_are_not_predicted():
    valid = np.zeros(SHAPE, np.bool_)
    valid[:4, :4] = True
    network = Noting(1)
    lattice = Lattice(SHAPE, (8, 8), (0, 0), (0, 0))
    swept(
        ArraySource(np.ones((1, *SHAPE), np.float32), valid), network, lattice, blocks=Blocks(lattice, (16, 16), (4, 4))
    )
    assert network.calls == [1]


def test_only_blocks_that_touch_the_run_are_computed():
    network, source = Noting(1), ArraySource(image((64, 64), 0, channels=1))
    lattice = Lattice((64, 64), (8, 8), (0, 0), (0, 0))
    recipe = Recipe(lattice, "gaussian", (Scores((1,)),), Blocks(lattice, (16, 16), (8, 8)))
    sweep(source, network, ArraySink.like((1,), (64, 64), np.float32), recipe, (Box((16, 0), (24, 64)),))
    assert network.calls == [2] * 4
    assert max(box.stop[0] for box in source.reads) <= 40


class Fragile(BlockIdentity):
    """A network that cannot compute blocks with a value above 200, and whose scores above 100 are none."""

    def pieces(self, values, valid, cuts):
        if values.max() > 200:
            raise ArithmeticError("too large")
        return super().pieces(values, valid, cuts)

    def scores(self, joined):
        return super().scores(np.where(joined > 100, np.nan, joined))


@pytest.mark.parametrize(("value", "overlap", "patches"), [(150, 0, 1), (250, 0, 4), (150, 4, 2), (250, 4, 12)])
def test_what_fails_is_nodata(value, overlap, patches):
    values = np.ones((1, *SHAPE), np.float32)
    values[0, 20, 3] = value
    lattice = Lattice(SHAPE, (8, 8), (overlap, overlap), (0, 0))
    sink = ArraySink.like((1,), SHAPE, np.float32)
    recipe = Recipe(lattice, "gaussian", (Scores((1,)),), Blocks(lattice, (16 - overlap, 16 - overlap), (0, 0)))
    failures = sweep(ArraySource(values), Fragile(1), sink, recipe, cut_slabs(SHAPE, 8))
    assert len(failures) == patches
    spoilt = np.zeros(SHAPE, bool)
    for failure in failures:
        spoilt[failure.patch.slices] = True
    assert spoilt[20, 3]
    np.testing.assert_array_equal(np.isnan(sink.values[0]), spoilt)
    np.testing.assert_allclose(sink.values[0][~spoilt], 1, atol=2e-6)


def test_a_network_that_fails_everywhere_ends_the_sweep():
    everywhere = ArraySource(np.full((1, *SHAPE), 250, np.float32))
    with pytest.raises(ArithmeticError, match="too large"):
        swept(everywhere, Fragile(1), LATTICE, blocks=Blocks(LATTICE, (12, 12), (0, 0)))


def test_a_stopped_sweep_ends_before_the_last_block():
    stop = Event()
    network = Noting(1, threads=1)
    lattice = Lattice((400, 8), (8, 8), (0, 0), (0, 0))
    with pytest.raises(Interrupted):
        swept(
            ArraySource(np.ones((1, 400, 8), np.float32)),
            network,
            lattice,
            height=8,
            observer=Callbacks(stop, slab_done=lambda _: stop.set()),
            blocks=Blocks(lattice, (8, 8), (0, 0)),
        )
    assert len(network.calls) < 50


def test_memory_does_not_grow_with_the_input():
    lattice = Lattice((800, 8), (8, 8), (4, 4), (0, 0))
    read, final = [0], [0]

    class Source(ArraySource):
        def read(self, box):
            read[0] = max(read[0], box.stop[0])
            assert read[0] - final[0] <= 14 * 8
            return super().read(box)

    def committed(slab):
        final[0] = slab.stop[0]

    swept(
        Source(image(lattice.shape, 0)),
        BlockIdentity(2),
        lattice,
        height=4,
        observer=Callbacks(slab_done=committed),
        blocks=Blocks(lattice, (16, 16), (8, 8)),
    )
    assert final[0] == 800
