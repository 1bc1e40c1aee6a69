"""The properties are checks only if they fail on wrong code: each fault is one that a well-known stitcher has had."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.engine import windows as window_module
from pipeline.engine.windows import Weights
from pipeline.engine.writer import SlabWriter
from pipeline.geometry import Box, Lattice
from pipeline.geometry import lattice as lattice_module
from tests.support.properties import identity_error

LATTICE = Lattice((31, 29), (8, 8), (4, 4), (0, 0))


def broken(height: int = 1 << 30, lattice: Lattice = LATTICE) -> bool:
    """Whether the identity contract fails, in value or by an error or warning."""
    try:
        return (
            not identity_error(
                Lattice(LATTICE.shape, LATTICE.patch, LATTICE.overlap, LATTICE.margin), "hann", 0, height
            )
            <= 2e-6
        )
    except (ValueError, IndexError, RuntimeWarning):
        return True


def test_the_contract_holds_without_a_fault():
    assert not broken()
    assert not broken(height=5)


def test_weight_zero_at_the_edge_is_caught(monkeypatch):
    monkeypatch.setattr(window_module, "window", lambda kind, length: np.hanning(length))
    assert broken()


def test_clamped_weights_are_caught(monkeypatch):
    whole = Weights.__init__

    def clamped(self, lattice, kind):
        whole(self, lattice, kind)
        self._totals = [np.maximum(total, 1) for total in self._totals]

    monkeypatch.setattr(Weights, "__init__", clamped)
    assert broken()


def test_a_missed_last_column_is_caught(monkeypatch):
    monkeypatch.setattr(
        lattice_module, "_starts", lambda size, patch, stride: tuple(range(0, max(1, size - patch + 1), stride))
    )
    assert broken()


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_band_off_by_one_is_caught(monkeypatch, shift):
    write = SlabWriter._write

    def shifted(self, slab, out, whole):
        start = (max(0, slab.start[0] + shift), *slab.start[1:])
        write(self, Box(start, (slab.stop[0] + shift, *slab.stop[1:])), out, whole)

    monkeypatch.setattr(SlabWriter, "_write", shifted)
    assert broken(height=5)


def test_counts_that_wrap_at_256_are_caught(monkeypatch):
    total = window_module._total
    monkeypatch.setattr(window_module, "_total", lambda *args: total(*args).astype(np.uint8).astype(float))
    assert broken(lattice=Lattice((700, 3), (300, 2), (299, 1), (0, 0)))
