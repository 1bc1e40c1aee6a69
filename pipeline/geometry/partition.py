"""The partition of the slabs of an input among workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf, isqrt, prod

import numpy as np

from pipeline.geometry import Box, Lattice, cut_across, split_runs
from pipeline.geometry.slabs import Run

MAX_RECOMPUTED = 0.05
"""Largest share of patches that may be computed twice for the sake of shorter runs."""
_RUNS_PER_WORKER = (4, 3, 2)
"""Runs per worker, in order of preference: with more of them, workers wait less for the last one."""


def split_for_workers(lattice: Lattice, slabs: Sequence[Box], workers: int, side: int) -> tuple[Run, ...]:
    """Return runs for `workers` workers, at least one for each if the input has enough slabs.

    There are several per worker as long as no more than a share `MAX_RECOMPUTED` of the patches is computed twice.
    Where rows alone would cost more, or are too few, slabs are also cut into strips at multiples of `side`: the squarer
    runs are, the fewer patches they share. If nothing is that cheap, the runs that end first are returned.
    """
    least, best = inf, split_runs(slabs, workers)
    for runs in _choices(slabs, workers, side):
        twice = recomputed(lattice, runs)
        if twice <= MAX_RECOMPUTED and len(runs) >= workers:
            return runs
        time = (1 + twice) / max(1, min(len(runs), workers))
        if time < least:
            least, best = time, runs
    return best


def _choices(slabs: Sequence[Box], workers: int, side: int) -> Iterator[tuple[Run, ...]]:
    """Partitions of the slabs, in order of preference if no patch were computed twice."""
    widest = max((slab.shape[-1] for slab in slabs), default=0)
    widths = dict.fromkeys(
        -(-widest // (side * parts)) * side for parts in range(1, 2 + isqrt(_RUNS_PER_WORKER[0] * workers))
    )
    cuts = [slabs, *(cut_across(slabs, width) for width in list(widths)[1:])]
    yield from (split_runs(cut, each * workers) for cut in cuts for each in _RUNS_PER_WORKER)
    yield from (split_runs(cut, workers) for cut in cuts)


def recomputed(lattice: Lattice, runs: Sequence[Run]) -> float:
    """Return the share of patches that are computed again, since they extend across two runs."""
    needed = np.zeros(tuple(map(len, lattice.starts)), bool)
    for run in runs:
        needed[lattice.touched(_region(run))] = True
    return float(patches_of(lattice, runs) / needed.sum()) - 1 if runs else 0.0


def patches_of(lattice: Lattice, runs: Sequence[Run]) -> int:
    """Return the number of patches that the runs compute, each by itself."""
    return sum(prod(map(len, lattice.touching(_region(run)))) for run in runs)


def _region(run: Run) -> Box:
    return Box(run[0].start, run[-1].stop)
