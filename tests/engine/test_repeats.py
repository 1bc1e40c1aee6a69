"""Values that repeat are computed twice at most, and no byte tells."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from pipeline.engine import network as network_module
from pipeline.engine.repeats import BYTES, Repeats
from pipeline.geometry import Blocks, Lattice
from tests.support.fakes import ArraySource, BlockIdentity, Identity, swept
from tests.support.observers import Callbacks

LATTICE = Lattice((160, 64), (16, 16), (0, 0), (0, 0))


@dataclass
class Noting(Identity):
    calls: list[int] = field(default_factory=list)

    def __call__(self, values, valid):
        self.calls.append(len(values))
        return super().__call__(values, valid)


@dataclass
class NotingBlocks(BlockIdentity):
    calls: list[int] = field(default_factory=list)

    def pieces(self, values, valid, cuts):
        self.calls.append(len(cuts))
        return super().pieces(values, valid, cuts)


def sea(coast: int = 32) -> np.ndarray:
    """Noise, and from a row on one value."""
    values = np.random.default_rng(0).random((2, 160, 64), np.float32)
    values[:, coast:] = 0.25
    return values


def swept_with(network, values, valid=None, **options):
    repeated = []
    observer = Callbacks(patches_repeated=repeated.append)
    result = swept(ArraySource(values, valid), network, LATTICE, observer=observer, **options)
    return result, sum(repeated)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_patch_is_computed_twice_at_most(batch):
    network = Noting(2, (0, 0), batch=batch, threads=1)
    result, repeated = swept_with(network, sea())
    assert sum(network.calls) + repeated == len(LATTICE)
    assert repeated >= 32 - 2 * batch
    np.testing.assert_allclose(result, sea(), atol=2e-6)


def test_a_block_is_computed_twice_at_most():
    network = NotingBlocks(2, threads=1)
    result, repeated = swept_with(network, sea(), blocks=Blocks(LATTICE, (16, 32), (0, 0)))
    assert sum(network.calls) + repeated == len(LATTICE)
    assert repeated == 28
    np.testing.assert_allclose(result, sea(), atol=2e-6)


def test_the_bytes_are_those_without_a_memory(monkeypatch):
    rng = np.random.default_rng(1)
    tiles = rng.integers(0, 3, (10, 4)).repeat(16, 0).repeat(16, 1)
    values = np.stack([tiles, tiles * 2]).astype(np.float32) / 7
    valid = rng.random((10, 4)).repeat(16, 0).repeat(16, 1) > 0.3
    values[:, 16:32, 5] = 0.1
    remembered, repeated = swept_with(Identity(2, (0, 0)), values, valid)
    monkeypatch.setattr(Repeats, "key", lambda *_: None)
    forgotten, none = swept_with(Identity(2, (0, 0)), values, valid)
    assert repeated > 0
    assert none == 0
    assert remembered.tobytes() == forgotten.tobytes()


def test_values_that_differ_in_one_cell_or_in_what_is_valid_are_not_the_same():
    values, valid = np.zeros((2, 32, 32)), np.ones((32, 32), bool)
    repeats = Repeats()
    repeats.key(values, valid)
    keys = {repeats.key(values, valid)}
    for changed in range(3):
        other, seen = values.copy(), valid.copy()
        if changed == 0:
            other[1, 3, 5] = 1e-9
        if changed == 1:
            seen[3, 5] = False
        keys.add(repeats.key(other, seen, "elsewhere" if changed == 2 else None))
    keys.add(repeats.key(values, None))
    keys.add(repeats.key(values.astype(np.float32), None) or repeats.key(values.astype(np.float32), None))
    assert len(keys) == 6
    assert None not in keys


def test_only_a_few_results_are_kept():
    repeats = Repeats()
    for value in range(99):
        values = np.full((1, 16, 16), value)
        repeats.key(values, None)
        repeats.keep(repeats.key(values, None), value)
    found = [repeats.get(repeats.key(np.full((1, 16, 16), value), None)) for value in range(99)]
    assert found == [*[None] * 95, 95, 96, 97, 98]


def test_memory_is_bounded_whatever_the_number_of_classes():
    repeats, values = Repeats(), np.zeros((1, 16, 16))
    repeats.key(values, None)
    key = repeats.key(values, None)
    repeats.keep(key, "scores", BYTES + 1)
    assert repeats.get(key) is None
    repeats.keep(key, "scores", BYTES)
    assert repeats.get(key) == "scores"
    repeats.keep("another", "smaller", 1)
    assert repeats.get(key) is None
    assert repeats.get("another") == "smaller"


def test_a_network_that_fails_on_repeated_values_fails_each_time():
    class Failing(Identity):
        def __call__(self, values, valid):
            if (values == 0.25).all():
                raise ArithmeticError("the sea")
            return super().__call__(values, valid)

    with pytest.raises(ArithmeticError, match="the sea"):
        swept_with(Failing(2, (0, 0)), sea())
    assert network_module.MAX_FAILED < 32
