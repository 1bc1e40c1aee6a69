"""The partition of the slabs of an input among workers."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from heapq import heapreplace
from math import isqrt, prod

import numpy as np

from pipeline.geometry import Blocks, Box, Lattice, cut_across, split_runs
from pipeline.geometry.slabs import Run, share_runs

UNEVENNESS = 0.05
"""By how much workers may differ in speed: that share of its longest run is what the last one is waited for."""
_RUNS_PER_WORKER = (4, 3, 2, 1)


def split_for_workers(
    lattice: Lattice, slabs: Sequence[Box], workers: int, side: int, blocks: Blocks | None = None
) -> tuple[Run, ...]:
    """Return runs for `workers` workers, at least one for each if the input has enough slabs, the longest first.

    Slabs are also cut into strips at multiples of `side`: the squarer runs are, the fewer patches they share. More runs
    are shared out more evenly, and fewer compute less twice; those are returned that end first if each worker takes the
    next one when it is free. `blocks` are computed as a whole, and each counts as the patches that end in it.
    """
    count = _Count(lattice, blocks)
    choices = [runs for runs in _choices(slabs, workers, side) if len(runs) >= min(workers, len(slabs))]
    times = [_time([count.patches(run) for run in runs], workers) for runs in choices]
    best = choices[times.index(min(times))] if choices else ()
    return tuple(sorted(best, key=count.patches, reverse=True))


def _choices(slabs: Sequence[Box], workers: int, side: int) -> Iterator[tuple[Run, ...]]:
    """Partitions of the slabs: a few runs per worker, in any number of strips."""
    widest = max((slab.shape[-1] for slab in slabs), default=0)
    for strips in range(1, min(2 + isqrt(_RUNS_PER_WORKER[0] * workers), 1 + -(-widest // side))):
        whole = split_runs(cut_across(slabs, side, strips), 1)
        for each in _RUNS_PER_WORKER:
            parts = each * workers
            yield from (share_runs(whole, number) for number in {parts, max(1, parts // strips) * strips})


def _time(patches: Sequence[int], workers: int) -> float:
    """Return when the last run ends if each is taken by the first free worker; `patches` has the size of each run."""
    ends = [0] * workers
    for run in sorted(patches, reverse=True):
        heapreplace(ends, ends[0] + run)
    return max(ends) + UNEVENNESS * max(patches, default=0)


def recomputed(lattice: Lattice, runs: Sequence[Run], blocks: Blocks | None = None) -> float:
    """Return the share of patches that are computed again, since they, or their blocks, extend across two runs."""
    needed, count = np.zeros(tuple(map(len, lattice.starts)), bool), _Count(lattice, blocks)
    for run in runs:
        needed[count.touched(run)] = True
    return float(sum(map(count.patches, runs)) / needed.sum()) - 1 if runs else 0.0


def patches_of(lattice: Lattice, runs: Sequence[Run], blocks: Blocks | None = None) -> int:
    """Return the number of patches that the runs compute, each by itself; with `blocks`, those of whole blocks."""
    return sum(map(_Count(lattice, blocks).patches, runs))


class _Count:
    """Counts the patches of runs; as many of these begin or end with the same cells, each such pair counts once."""

    def __init__(self, lattice: Lattice, blocks: Blocks | None) -> None:
        self._lattice, self._blocks = lattice, blocks
        self._known: dict[tuple[int, int, int], slice] = {}

    def patches(self, run: Run) -> int:
        return prod(which.stop - which.start for which in self.touched(run))

    def touched(self, run: Run) -> tuple[slice, ...]:
        """Return which patches a run computes, per axis."""
        ends = zip(run[0].start, run[-1].stop, strict=True)
        return tuple(self._on(axis, start, stop) for axis, (start, stop) in enumerate(ends))

    def _on(self, axis: int, start: int, stop: int) -> slice:
        key = axis, start, stop
        if key not in self._known:
            self._known[key] = self._find(*key)
        return self._known[key]

    def _find(self, axis: int, start: int, stop: int) -> slice:
        starts = self._lattice.starts[axis]
        first, last = bisect_right(starts, start - self._lattice.patch[axis]), bisect_left(starts, stop)
        if self._blocks is None:
            return slice(first, last)
        blocks, counts = self._blocks.needed(axis, slice(first, last)), self._blocks.counts[axis]
        return slice(counts[blocks.start], counts[blocks.stop])
