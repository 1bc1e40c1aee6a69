"""How the bands of an input are shared out among workers."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from pipeline.geometry import Box, Lattice, split_runs
from pipeline.geometry.bands import Run

MOST = 0.05
"""Share of patches that may be computed twice for the sake of shorter runs."""
_EACH = (4, 3, 2)
"""Runs for each worker, if they can be had: the last to end keeps the others waiting for less."""


def runs_for(lattice: Lattice, bands: Sequence[Box], workers: int) -> tuple[Run, ...]:
    """Runs for so many workers, at least one for each where there are enough bands.

    There are several for each as long as no more than a share `MOST` of the patches is computed twice.
    """
    shared = (split_runs(bands, each * workers) for each in _EACH)
    return next((runs for runs in shared if recomputed(lattice, runs) <= MOST), split_runs(bands, workers))


def recomputed(lattice: Lattice, runs: Sequence[Run]) -> float:
    """Patches that are computed more than once, as a share of those that are needed: they lie across two runs."""
    whole = [run for one in runs for run in one]
    needed = patches_of(lattice, split_runs(whole, 1))
    return patches_of(lattice, runs) / needed - 1 if needed else 0.0


def patches_of(lattice: Lattice, runs: Sequence[Run]) -> int:
    """Patches that are computed for runs, each by itself."""
    return sum(prod(map(len, lattice.touching(Box(run[0].start, run[-1].stop)))) for run in runs)
