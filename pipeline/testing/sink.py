"""The contract of every `Sink`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.engine import Decision, Sink
from pipeline.geometry import Box

Values = tuple[NDArray[Any], ...]
"""The arrays of a slab, one per decision."""


@dataclass(frozen=True)
class Output:
    """An output that was begun and is empty, and how to inspect it from outside the sink."""

    open: Callable[[], Sink]
    """Open a sink on it, like each worker."""
    read: Callable[[Box], Sequence[NDArray[Any]]]
    """Read a slab: an array `(*planes, *slab.shape)` for each decision."""
    done: Callable[[], Collection[Box]]
    """Return those of `slabs` that a later run takes as done."""
    slabs: Sequence[Box]
    """The slabs of the whole output; at least two."""
    decisions: Sequence[Decision]
    """The decisions to write."""

    def values(self, slab: Box, seed: int = 0) -> Values:
        """Return random values to write."""
        rng = np.random.default_rng([seed, *slab.start])
        return tuple(rng.integers(0, 200, (*each.planes, *slab.shape)).astype(each.dtype) for each in self.decisions)

    def nodata(self, slab: Box) -> Values:
        """Return the values before anything is written."""
        return tuple(np.full((*each.planes, *slab.shape), each.nodata, each.dtype) for each in self.decisions)


class SinkContract:
    """Tests of a `Sink`: subclass it in a module of tests, and give the fixture `output`."""

    @pytest.fixture
    def output(self) -> Output:
        """An output that was begun for each test."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture named output")

    def test_nothing_is_there_before_it_is_written(self, output: Output) -> None:
        """All cells are nodata, and no slab is done."""
        output.open()
        for slab in output.slabs:
            assert_written(output, slab, output.nodata(slab))
        assert not output.done()

    def test_a_slab_is_there_when_write_returns(self, output: Output) -> None:
        """It is safe and done, though the sink that wrote it is never finished, and no other slab is touched."""
        first, *others = output.slabs
        output.open().write(first, output.values(first))
        assert_written(output, first, output.values(first))
        assert set(output.done()) == {first}
        for slab in others:
            assert_written(output, slab, output.nodata(slab))

    def test_a_second_sink_goes_on_where_the_first_stopped(self, output: Output) -> None:
        """What the first wrote stays as it is."""
        first, *others = output.slabs
        output.open().write(first, output.values(first))
        later = output.open()
        for slab in others:
            later.write(slab, output.values(slab))
        assert_complete(output)

    def test_slabs_are_written_in_any_order_by_sinks_at_the_same_time(self, output: Output) -> None:
        """Each by one of them."""

        def write(slab: Box) -> None:
            output.open().write(slab, output.values(slab))

        with ThreadPoolExecutor(len(output.slabs)) as pool:
            list(pool.map(write, reversed(output.slabs)))
        assert_complete(output)

    def test_a_slab_that_is_not_whole_is_not_done(self, output: Output) -> None:
        """It is there, and is written again by the next run."""
        slab = output.slabs[0]
        output.open().write(slab, output.values(slab, 1), whole=False)
        assert_written(output, slab, output.values(slab, 1))
        assert not output.done()
        output.open().write(slab, output.values(slab))
        assert_written(output, slab, output.values(slab))
        assert set(output.done()) == {slab}

    def test_a_write_that_fails_is_not_done(self, output: Output) -> None:
        """Neither where the values do not fit the slab, nor where the slab is outside the output."""
        slab, last = output.slabs[0], output.slabs[-1]
        short = tuple(values[..., :-1] for values in output.values(slab))
        outside = Box((last.stop[0], *last.start[1:]), (2 * last.stop[0] - last.start[0], *last.stop[1:]))
        with pytest.raises(Exception):  # noqa: B017, PT011  (of any kind, as long as it is loud)
            output.open().write(slab, (*output.values(slab)[:-1], short[-1]))
        with pytest.raises(Exception):  # noqa: B017, PT011
            output.open().write(outside, output.values(outside))
        assert not output.done()


def assert_written(output: Output, slab: Box, expected: Values) -> None:
    """Fail unless a slab has the values `expected`, an array for each decision."""
    for found, values in zip(output.read(slab), expected, strict=True):
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, values, f"{slab} is not as it was written")


def assert_complete(output: Output) -> None:
    """Fail unless all slabs have the values that were written, and are done."""
    for slab in output.slabs:
        assert_written(output, slab, output.values(slab))
    assert set(output.done()) == set(output.slabs)
