"""A source, a sink or a predictor with a fault fails the contract that is shipped, and the same without it passes."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import Phase, settings

from pipeline.engine import Labels, Pixels, Scores
from pipeline.geometry import Box, cut_slabs
from pipeline.testing import Output, PredictorContract, SinkContract, SourceContract
from tests.support.fakes import ArraySource, Identity


@pytest.fixture(autouse=True)
def no_search_for_the_simplest_example():
    """A fault is seen in any."""
    before = settings.get_current_profile_name()
    settings.register_profile("any example", settings.get_profile(before), phases=[Phase.generate])
    settings.load_profile("any example")
    yield
    settings.load_profile(before)


def failures(contract, make, **others) -> set[str]:
    """Names of the tests of a contract that fail, each with a value that was freshly made."""
    failed = set()
    for name, test in inspect.getmembers(contract, inspect.isfunction):
        if name.startswith("test_"):
            subject = {next(iter(inspect.signature(test).parameters.keys() - {"self", "patches"})): make()}
            wanted = {key: value for key, value in others.items() if key in inspect.signature(test).parameters}
            try:
                test(contract(), **subject, **wanted)
            except (Exception, pytest.fail.Exception):
                failed.add(name)
    return failed


VALUES = np.random.default_rng(0).integers(0, 99, (2, 12, 15)).astype(np.int16)
VALID = VALUES[0] % 4 > 0


class OffByOne(ArraySource):
    """Boxes that do not begin at the top are read from a row too high."""

    def read(self, box):
        up = min(1, box.start[0])
        rows = Box((box.start[0] - up, *box.start[1:]), (box.stop[0] - up, *box.stop[1:]))
        return super().read(rows)


class DropsValid(ArraySource):
    """Says that all was observed, but for the whole."""

    def read(self, box):
        pixels = super().read(box)
        return pixels if box == Box.whole(self.grid.shape) else Pixels(pixels.values, None)


class OtherType(ArraySource):
    """Gives another type than it says."""

    def read(self, box):
        pixels = super().read(box)
        return Pixels(pixels.values.astype(np.int32), pixels.valid)


class Flat(ArraySource):
    """Has no axis of channels."""

    def read(self, box):
        pixels = super().read(box)
        return Pixels(pixels.values[0], pixels.valid)


class ValidOfChannels(ArraySource):
    """Has a mask for each channel."""

    def read(self, box):
        pixels = super().read(box)
        return Pixels(pixels.values, np.stack([pixels.valid] * 2))


class Scaled(ArraySource):
    """Scales each read by its own brightest value, as many a loader does."""

    def read(self, box):
        pixels = super().read(box)
        return Pixels(pixels.values // max(1, pixels.values.max() // 10), pixels.valid)


class Moving(ArraySource):
    """Reads from where the last read ended."""

    def read(self, box):
        pixels = super().read(box)
        return Pixels(pixels.values + len(self.reads) % 3, pixels.valid)


class ClosedOnce(ArraySource):
    """Does not like to be closed again."""

    closed = False

    def close(self):
        if self.closed:
            raise ValueError("is closed")
        self.closed = True


class Growing(ArraySource):
    """Is told of channels as they are read."""

    @property
    def info(self):
        return replace(super().info, volumes=1 + len(self.reads))


SOURCES = {
    OffByOne: "test_a_box_is_cut_from_the_whole",
    DropsValid: "test_a_box_is_cut_from_the_whole",
    OtherType: "test_a_read_has_the_shape_and_type_of_its_info",
    Flat: "test_a_read_has_the_shape_and_type_of_its_info",
    ValidOfChannels: "test_a_read_has_the_shape_and_type_of_its_info",
    Scaled: "test_a_box_is_cut_from_the_whole",
    Moving: "test_a_box_read_twice_is_the_same",
    ClosedOnce: "test_closing_twice_does_no_harm",
    Growing: "test_its_info_stays_the_same",
}


@pytest.mark.parametrize("kind", SOURCES, ids=lambda kind: kind.__name__)
def test_a_fault_of_a_source_is_seen(kind):
    assert SOURCES[kind] in failures(SourceContract, lambda: kind(VALUES, VALID, (4, 15)))


@pytest.mark.parametrize("block", [(4,), (4, 0), (4, 15, 1)])
def test_a_block_that_makes_no_sense_is_seen(block):
    assert failures(SourceContract, lambda: ArraySource(VALUES, VALID, block)) == {"test_its_info_makes_sense"}


def test_a_source_without_a_fault_passes():
    assert not failures(SourceContract, lambda: ArraySource(VALUES, VALID, (4, 15)))


SHAPE = (12, 5)


@dataclass
class Place:
    """Where sinks in memory write to."""

    arrays: tuple[np.ndarray, ...]
    marked: set[Box]


class MemorySink:
    """A sink that holds to the contract."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def write(self, slab, values, *, whole=True):
        for array, written in zip(self.place.arrays, values, strict=True):
            if array[(..., *slab.slices)].shape != written.shape:
                raise ValueError(f"{slab} does not fit")
            array[(..., *slab.slices)] = written
        if whole:
            self.place.marked.add(slab)


class Forgets(MemorySink):
    """Marks nothing."""

    def write(self, slab, values, *, whole=True):
        super().write(slab, values, whole=False)


class MarksFirst(MemorySink):
    """Marks a slab before its bytes are safe."""

    def write(self, slab, values, *, whole=True):
        self.place.marked.add(slab)
        super().write(slab, values, whole=whole)


class MarksAll(MemorySink):
    """Marks slabs that are to be made again."""

    def write(self, slab, values, *, whole=True):
        super().write(slab, values)


class Late(MemorySink):
    """Writes a slab when the next one comes."""

    waiting = None

    def write(self, slab, values, *, whole=True):
        if self.waiting is not None:
            super().write(*self.waiting)
        self.waiting = slab, values
        self.place.marked.add(slab)


class Wipes(MemorySink):
    """Begins from nothing whenever it is opened."""

    def __init__(self, place):
        super().__init__(place)
        for array in place.arrays:
            array[...] = 255


class Lenient(MemorySink):
    """Takes what does not fit."""

    def write(self, slab, values, *, whole=True):
        inside = slab.clip(Box.whole(SHAPE))
        for array, written in zip(self.place.arrays, values, strict=True):
            np.resize(written, array[(..., *inside.slices)].shape)
        super().write(inside, [np.resize(v, (*v.shape[:-2], *inside.shape)) for v in values], whole=whole)


def in_memory(kind) -> Output:
    decisions = (Labels(), Scores((2,)))
    arrays = tuple(np.full((*each.planes, *SHAPE), each.nodata, each.dtype) for each in decisions)
    place = Place(arrays, set())
    return Output(
        open=lambda: kind(place),
        read=lambda slab: [array[(..., *slab.slices)] for array in arrays],
        done=lambda: place.marked,
        slabs=cut_slabs(SHAPE, 4),
        decisions=decisions,
    )


SINKS = {
    Forgets: "test_a_slab_is_there_when_write_returns",
    MarksFirst: "test_a_write_that_fails_is_not_done",
    MarksAll: "test_a_slab_that_is_not_whole_is_not_done",
    Late: "test_a_slab_is_there_when_write_returns",
    Wipes: "test_a_second_sink_goes_on_where_the_first_stopped",
    Lenient: "test_a_write_that_fails_is_not_done",
}


@pytest.mark.parametrize("kind", SINKS, ids=lambda kind: kind.__name__)
def test_a_fault_of_a_sink_is_seen(kind):
    assert SINKS[kind] in failures(SinkContract, lambda: in_memory(kind))


def test_a_sink_without_a_fault_passes():
    assert not failures(SinkContract, lambda: in_memory(MemorySink))


class OfTheBatch(Identity):
    """Scores are those of the patch less the mean of the batch, as of a network in training mode."""

    def __call__(self, values, valid):
        return super().__call__(values, valid) - values.mean(dtype=np.float32)


class OfChance(Identity):
    """A network whose dropout is on."""

    def __call__(self, values, valid):
        return super().__call__(values, valid) * np.random.default_rng().random(dtype=np.float32)


class Double(Identity):
    """Scores in float64."""

    def __call__(self, values, valid):
        return super().__call__(values, valid).astype(np.float64)


class WithMargin(Identity):
    """Scores of the margin too."""

    def __call__(self, values, valid):
        return values.astype(np.float32)


class Remembers(Identity):
    """Hands out what it keeps."""

    kept = None

    def __call__(self, values, valid):
        if self.kept is None or len(self.kept) != len(values):
            self.kept = super().__call__(values, valid)
        return self.kept


class Scales(Identity):
    """Scales what it was given in its place."""

    def __call__(self, values, valid):
        values //= 2
        return super().__call__(values, valid)


class ByMask(Identity):
    """Takes no mask for no observation."""

    def __call__(self, values, valid):
        return super().__call__(values, valid) * np.float32(valid is not None)


class NotANumber(Identity):
    """Divides by what may be 0."""

    def __call__(self, values, valid):
        with np.errstate(invalid="ignore"):
            return super().__call__(values * np.float32(0) / np.float32(0), valid)


PREDICTORS = {
    OfTheBatch: "test_a_batch_gives_what_its_patches_give_one_by_one",
    OfChance: "test_the_same_patches_give_the_same_scores_again",
    Double: "test_scores_are_finite_float32_for_each_class_and_cell",
    WithMargin: "test_scores_are_finite_float32_for_each_class_and_cell",
    Remembers: "test_the_same_patches_give_the_same_scores_again",
    Scales: "test_the_same_patches_give_the_same_scores_again",
    ByMask: "test_no_mask_is_the_mask_of_all",
    NotANumber: "test_scores_are_finite_float32_for_each_class_and_cell",
}


class Margin(PredictorContract):
    margin = (1, 1)


def patches():
    return np.random.default_rng(0).integers(1, 99, (5, 2, 8, 7)).astype(np.int16)


@pytest.mark.parametrize("kind", PREDICTORS, ids=lambda kind: kind.__name__)
def test_a_fault_of_a_predictor_is_seen(kind):
    assert PREDICTORS[kind] in failures(Margin, lambda: kind(2, (1, 1), batch=2), patches=patches())


def test_a_predictor_without_a_fault_passes():
    assert not failures(Margin, lambda: Identity(2, (1, 1), batch=2), patches=patches())


@pytest.mark.parametrize(
    ("contract", "fixture"),
    [(SourceContract, "source"), (SinkContract, "output"), (PredictorContract, "predictor")],
)
def test_a_contract_without_its_fixture_says_so(contract, fixture):
    unset = getattr(contract, fixture).__wrapped__
    with pytest.raises(NotImplementedError, match=f"{contract.__name__} needs a fixture named {fixture}"):
        unset(contract())
