"""Scenes without overviews are read at any resolution: what is missing is made meanwhile."""

from __future__ import annotations

import time

import numpy as np
import pytest

from pipeline.engine import Pixels
from pipeline.errors import InputError
from pipeline.geometry import Box
from pipeline.io.reduced import read_reduced, reduced_shape
from pipeline.viewer.reader import TILE, Reader, levels_of
from tests.support.fakes import ArraySource

SHAPE = (4200, 5001)
WHOLE = Box.whole(SHAPE)
BLOCK = (512, 512)


class Damaged(ArraySource):
    def read(self, box: Box) -> Pixels:
        raise InputError("scene.zarr: rows 0 to 8: cannot be read")


def until_made(reader):
    end = time.monotonic() + 60
    while reader.progress < 1:
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("shape", [(1, 1), (256, 256), (257, 1), (4200, 5001), (30000, 30000)])
def test_the_last_level_fits_a_tile_and_the_one_before_does_not(shape):
    last = levels_of(shape) - 1
    assert max(reduced_shape(Box.whole(shape), 1 << last)) <= TILE
    assert last == 0 or max(reduced_shape(Box.whole(shape), 1 << last - 1)) > TILE


def test_high_steps_are_answered_from_a_copy():
    labels = np.kron(np.arange(132).reshape(12, 11), np.ones((350, 455))).astype(np.uint8)[None, :4200, :5001]
    source = ArraySource(labels, block=BLOCK)
    reader = Reader(source, nodata=255)
    until_made(reader)
    read = len(source.reads)
    for step in (16, 32):
        found = reader.read(WHOLE, step)
        assert found.values.shape[1:] == reduced_shape(WHOLE, step)
        expected = read_reduced(ArraySource(labels, block=BLOCK), WHOLE, step, nodata=255)
        assert (found.values == expected.values).mean() > 0.9, "but for borders"
    assert len(source.reads) == read
    assert reader.read(WHOLE, 8).values.shape[1:] == reduced_shape(WHOLE, 8)
    assert len(source.reads) > read
    reader.close()


def test_a_copy_that_cannot_be_made_says_why():
    reader = Reader(Damaged(np.zeros((1, *SHAPE), np.uint8), block=BLOCK), nodata=255)
    until_made(reader)
    assert reader.problem == "scene.zarr: rows 0 to 8: cannot be read"
    assert not reader.read(WHOLE, 32).valid.any()
    reader.close()


def test_a_small_scene_needs_no_copy():
    reader = Reader(ArraySource(np.ones((1, 300, 2000), np.uint8), block=BLOCK))
    assert reader.progress == 1
    assert reader.read(Box((0, 0), (300, 2000)), 8).values.shape == (1, 38, 250)
    reader.close()
