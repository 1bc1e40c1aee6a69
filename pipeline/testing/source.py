"""The contract of every `Source`."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from pipeline.engine import Pixels, PlainSource, Source, as_source
from pipeline.geometry import Box
from pipeline.testing.strategies import boxes

THREADS = 4
"""Threads that read at the same time."""


class SourceContract:
    """Tests of a `Source`: subclass it in a module of tests, and give the fixture `source`.

    Use a small input, since it is read as a whole, but one larger than its block.
    """

    max_examples: int | None = None
    """Number of boxes that a test draws, for slow sources; None: the setting of Hypothesis."""

    @property
    def _settings(self) -> settings:
        usual = settings(deadline=None)
        return usual if self.max_examples is None else settings(usual, max_examples=self.max_examples)

    @pytest.fixture
    def source(self) -> Source | PlainSource:
        """The source to test, opened for each test; it is closed after it."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture named source")

    @pytest.fixture
    def opened(self, source: Source | PlainSource) -> Iterator[Source]:
        """The source as the engine uses it."""
        yield as_source(source)
        source.close()

    def test_its_info_makes_sense(self, opened: Source) -> None:
        """There is a block for each axis, values are real numbers in this machine's byte order."""
        info = opened.info
        assert len(info.block) == len(info.grid.shape)
        assert min(info.block) >= 1
        assert info.channels >= 1
        assert info.volumes >= 1
        assert info.dtype.kind in "buif"
        assert info.dtype.isnative

    def test_a_read_has_the_shape_and_type_of_its_info(self, opened: Source) -> None:
        """Values are `(channels, *box.shape)` of `dtype`; valid is of `box.shape`, or None."""
        info = opened.info

        @self._settings
        @given(box=boxes(info.grid.shape))
        def check(box: Box) -> None:
            values, valid = opened.read(box)
            assert values.shape == (info.channels, *box.shape)
            assert values.dtype == info.dtype
            assert valid is None or (valid.shape == box.shape and valid.dtype == np.bool_)

        check()

    def test_a_box_is_cut_from_the_whole(self, opened: Source) -> None:
        """`read(box) == read(whole)[box]`, byte for byte, whatever was read before."""
        shape = opened.info.grid.shape
        whole = opened.read(Box.whole(shape))

        @self._settings
        @given(box=boxes(shape))
        def check(box: Box) -> None:
            assert_cut(opened.read(box), whole, box)

        check()

    def test_a_box_read_twice_is_the_same(self, opened: Source) -> None:
        """So it is when another is read in between."""
        shape = opened.info.grid.shape

        @self._settings
        @given(box=boxes(shape), other=boxes(shape))
        def check(box: Box, other: Box) -> None:
            first = opened.read(box)
            opened.read(other)
            assert_cut(opened.read(box), first, Box.whole(box.shape))

        check()

    def test_threads_read_what_one_reads(self, opened: Source) -> None:
        """Any thread may read, at the same time as others unless the source is sequential."""
        shape = opened.info.grid.shape
        whole = opened.read(Box.whole(shape))
        asked = [box for box in _halves(shape) for _ in range(THREADS)]
        with ThreadPoolExecutor(1 if opened.info.sequential else THREADS) as pool:
            for box, pixels in zip(asked, pool.map(opened.read, asked), strict=True):
                assert_cut(pixels, whole, box)

    def test_its_info_stays_the_same(self, opened: Source) -> None:
        """Whatever is read."""
        before = opened.info
        opened.read(Box.whole(before.grid.shape))
        assert opened.info == before

    def test_closing_twice_does_no_harm(self, opened: Source) -> None:
        """Nor does closing what was never read."""
        opened.close()
        opened.close()


def assert_cut(pixels: Pixels, whole: Pixels, box: Box) -> None:
    """Fail unless `pixels` are the cells `box` of `whole`, byte for byte."""
    expected = whole.values[(slice(None), *box.slices)]
    if pixels.values.tobytes() != expected.tobytes():
        np.testing.assert_array_equal(pixels.values, expected, f"values of {box} are not those of the whole")
        pytest.fail(f"values of {box} have other bytes than those of the whole, though they are equal as numbers")
    seen, all_seen = _seen(pixels, box.shape), _seen(whole, whole.values.shape[1:])
    np.testing.assert_array_equal(seen, all_seen[box.slices], f"valid of {box} is not that of the whole")


def _seen(pixels: Pixels, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.ones(shape, np.bool_) if pixels.valid is None else pixels.valid


def _halves(shape: tuple[int, ...]) -> list[Box]:
    """The whole, and its two halves along each axis that has two."""
    whole = Box.whole(shape)
    found = [whole]
    for axis, length in enumerate(shape):
        if length > 1:
            cut = [*whole.stop]
            cut[axis] = length // 2
            start = [0] * len(shape)
            start[axis] = length // 2
            found += [Box(whole.start, tuple(cut)), Box(tuple(start), whole.stop)]
    return found
