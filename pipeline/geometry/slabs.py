"""Slabs (boxes that are written once) and runs (consecutive slabs that one worker sweeps)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise

import numpy as np

from pipeline.geometry.box import Box

Run = tuple[Box, ...]


def cut_slabs(shape: tuple[int, ...], height: int, width: int | None = None) -> tuple[Box, ...]:
    """Cut a grid of `shape` into slabs of `height` cells along axis 0, the last one shorter.

    `width` also cuts the last axis, into strips, for rows too wide for the memory. Slabs are ordered strip by strip,
    so that consecutive slabs of one strip follow each other.

    >>> [slab.shape for slab in cut_slabs((10, 6), 4)]
    [(4, 6), (4, 6), (2, 6)]
    """
    if height < 1 or (width is not None and width < 1):
        raise ValueError(f"a slab needs at least one row and one column, got {height} and {width}")
    columns = width or shape[-1]
    return tuple(
        Box((top, *(0 for _ in shape[1:-1]), left), (min(top + height, shape[0]), *shape[1:-1], right))
        for left in range(0, shape[-1], columns)
        for right in [min(left + columns, shape[-1])]
        for top in range(0, shape[0], height)
    )


def cut_across(slabs: Iterable[Box], side: int, parts: int) -> tuple[Box, ...]:
    """Cut slabs into at most `parts` strips at multiples of `side`, as even as can be, ordered strip by strip.

    >>> [slab.shape for slab in cut_across(cut_slabs((4, 26), 4), 4, 3)]
    [(4, 8), (4, 8), (4, 10)]
    """
    strips = (
        Box((*slab.start[:-1], slab.start[-1] + left), (*slab.stop[:-1], slab.start[-1] + right))
        for slab in slabs
        for left, right in _columns(slab.shape[-1], side, parts)
    )
    return tuple(sorted(strips, key=lambda strip: (strip.start[-1], strip.start[0])))


def _columns(width: int, side: int, parts: int) -> Iterable[tuple[int, int]]:
    chunks = -(-width // side)
    parts = min(parts, chunks)
    return pairwise([*(chunks * part // parts * side for part in range(parts)), width])


def covered(slabs: Iterable[Box], done: Sequence[Box]) -> set[Box]:
    """Return those of `slabs` that the slabs `done`, maybe of another height and width, cover together.

    All of them span the axes between the first and the last.
    """
    rows, columns = (
        sorted({-1, *(edge for box in done for edge in (box.start[axis], box.stop[axis]))}) for axis in (0, -1)
    )
    safe = np.zeros((len(rows), len(columns)), bool)
    for box in done:
        safe[_between(rows, box, 0), _between(columns, box, -1)] = True
    return {slab for slab in slabs if safe[_between(rows, slab, 0), _between(columns, slab, -1)].all()}


def _between(edges: list[int], box: Box, axis: int) -> slice:
    """The intervals, each from an edge to the next one, that a box meets."""
    return slice(bisect_right(edges, box.start[axis]) - 1, bisect_left(edges, box.stop[axis]))


def split_runs(slabs: Iterable[Box], parts: int) -> tuple[Run, ...]:
    """Group slabs into runs of consecutive slabs of one strip, at least `parts` runs if there are enough slabs.

    Gaps (slabs that are already done) end a run.
    """
    stretches = _stretches(slabs)
    total = sum(len(run) for run in stretches)
    return tuple(part for run in stretches for part in _even(run, min(len(run), -(-len(run) * parts // total))))


def share_runs(runs: Sequence[Run], parts: int) -> tuple[Run, ...]:
    """Cut runs into `parts` runs of much the same size, or as near to that number as slabs allow.

    >>> [len(run) for run in share_runs(split_runs((*cut_slabs((12, 9), 1), *cut_slabs((30, 9), 1)[15:]), 1), 7)]
    [4, 4, 4, 3, 4, 4, 4]
    """
    counts = [1 for _ in runs]
    sizes = [Box(run[0].start, run[-1].stop).size for run in runs]
    largest: list[tuple[float, int]] = [(-size, number) for number, size in enumerate(sizes)]
    left = parts - len(runs)
    heapify(largest)
    while largest and left > 0:
        _, number = heappop(largest)
        if counts[number] < len(runs[number]):
            counts[number] += 1
            left -= 1
            heappush(largest, (-sizes[number] / counts[number], number))
    return tuple(part for run, count in zip(runs, counts, strict=True) for part in _even(run, count))


def _even(run: Run, parts: int) -> list[Run]:
    edges = [len(run) * i // parts for i in range(parts + 1)]
    return [run[a:b] for a, b in pairwise(edges)]


def _stretches(slabs: Iterable[Box]) -> list[Run]:
    runs: list[list[Box]] = []
    for slab in slabs:
        if runs and _follows(runs[-1][-1], slab):
            runs[-1].append(slab)
        else:
            runs.append([slab])
    return [tuple(run) for run in runs]


def _follows(upper: Box, lower: Box) -> bool:
    return upper.stop[0] == lower.start[0] and upper.start[1:] == lower.start[1:] and upper.stop[1:] == lower.stop[1:]
