from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from pipeline.engine import Pixels, Recipe, Scores, Source, SourceInfo, as_source, sweep
from pipeline.engine.arrays import HOST, HostArrays, arrays_of
from pipeline.geometry import Box, Lattice
from tests.support.fakes import ArraySink, ArraySource, Identity, grid_of

LATTICE = Lattice((12, 9), (5, 4), (2, 1), (0, 0))
VALUES = np.arange(108, dtype=np.float32).reshape(1, 12, 9)


class Attributes:
    """An input that was written before there was `info`."""

    grid, channels, dtype, block = grid_of((12, 9)), 1, np.dtype(np.float32), (4, 9)
    closed = False

    def read(self, box: Box) -> Pixels:
        return Pixels(VALUES[(slice(None), *box.slices)], None)

    def close(self) -> None:
        self.closed = True


class Sequential(Attributes):
    sequential, nodata = True, 7


class Told:
    """An input with `info` that does not inherit."""

    info = SourceInfo(grid_of((12, 9)), 1, np.dtype(np.float32), (4, 9), path="told")
    read, close = Attributes.read, Attributes.close


@pytest.mark.parametrize("kind", [Attributes, Sequential, Told])
def test_an_input_that_does_not_inherit_is_swept_all_the_same(kind):
    sink = ArraySink.like((1,), (12, 9), np.float32)
    sweep(kind(), Identity(1, (0, 0)), sink, Recipe(LATTICE, "constant", (Scores((1,)),)), (Box((0, 0), (12, 9)),))
    np.testing.assert_allclose(sink.values, VALUES, atol=1e-5)


def test_its_attributes_become_its_info():
    assert as_source(Attributes()).info == SourceInfo(grid_of((12, 9)), 1, np.dtype(np.float32), (4, 9))
    assert as_source(Sequential()).info == replace(as_source(Attributes()).info, sequential=True, nodata=7)
    assert as_source(Told()).info is Told.info


def test_it_is_closed_by_the_source_around_it():
    plain = Attributes()
    as_source(plain).close()
    assert plain.closed


def test_a_source_is_taken_as_it_is():
    source = ArraySource(VALUES)
    assert as_source(source) is source


def test_a_source_that_defines_no_read_cannot_be_made():
    class Unread(Source):
        def close(self) -> None:
            pass

    with pytest.raises(TypeError, match="read"):
        Unread()


def test_the_usual_fields_of_info_are_properties_too():
    source = ArraySource(VALUES)
    names = [field.name for field in fields(SourceInfo)][:4]
    assert [getattr(source, name) for name in names] == [getattr(source.info, name) for name in names]


def test_scores_are_in_arrays_of_numpy_unless_the_predictor_has_others():
    network = Identity(1, (0, 0))
    assert arrays_of(network) is HOST
    network.arrays = HostArrays()
    assert arrays_of(network) is network.arrays
