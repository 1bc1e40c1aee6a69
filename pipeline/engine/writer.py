"""The output side of the sweep: decides finished scores into slabs, and writes them behind it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.arrays import Arrays
from pipeline.engine.blend import Sums
from pipeline.engine.decision import Decision, Labels
from pipeline.engine.protocols import Sink
from pipeline.engine.reader import Slices
from pipeline.geometry import Box
from pipeline.geometry.slabs import Run

Buffers = tuple[NDArray[Any], ...]
"""The arrays of a slab, one per decision."""


@dataclass(frozen=True)
class OutputStage:
    """The decisions of a sweep, applied together."""

    decisions: tuple[Decision, ...]
    classes: int
    arrays: Arrays

    def buffers(self, shape: tuple[int, ...]) -> Buffers:
        """Return buffers for cells of `shape`, filled with nodata."""
        return tuple(np.full((*each.planes, *shape), each.nodata, each.dtype) for each in self.decisions)

    def decide(self, sums: Sums, valid: NDArray[np.bool_] | None, buffers: Buffers, at: Slices) -> None:
        """Decide `sums` into the cells `at` of `buffers`, except for those that are not valid."""
        outs = [values[_cells(decision, at)] for decision, values in zip(self.decisions, buffers, strict=True)]
        if not (len(outs) == 1 and isinstance(self.decisions[0], Labels) and sums.label(outs[0])):
            self._decide(sums, outs)
        if valid is not None:
            for decision, out in zip(self.decisions, outs, strict=True):
                out[..., ~valid] = decision.nodata

    def _decide(self, sums: Sums, outs: Sequence[NDArray[Any]]) -> None:
        for piece, scores in sums.final():
            for decision, out in zip(self.decisions, outs, strict=True):
                given = scores if decision.needs_second_moment else scores[: self.classes]
                decision(given, out[_cells(decision, piece)], self.arrays)

    def fill_nodata(self, buffers: Buffers, at: Slices) -> None:
        """Fill the cells `at` of `buffers` with nodata."""
        for decision, values in zip(self.decisions, buffers, strict=True):
            values[_cells(decision, at)] = decision.nodata


def _cells(decision: Decision, at: Slices) -> Slices:
    """Slices of all planes of a decision."""
    return (slice(None),) * len(decision.planes) + at


class SlabWriter:
    """Collects decided cells in the current slabs, and writes complete slabs behind the sweep."""

    def __init__(
        self, run: Run, sink: Sink, stage: OutputStage, pool: Executor, committed: Callable[[Box], None]
    ) -> None:
        """Expect the cells of `run`, and write its slabs to `sink` on `pool`, one at a time."""
        self._slabs = deque(run)
        self._sink, self._stage, self._pool, self._committed = sink, stage, pool, committed
        self._open: dict[Box, Buffers] = {}
        self._spoilt: list[Box] = []
        self._writing: Future[None] | None = None

    def put(self, cells: Box, sums: Sums, valid: NDArray[np.bool_] | None) -> None:
        """Decide the final `sums` of `cells`."""
        for slab in self._slabs:
            if slab.start[0] >= cells.stop[0]:
                return
            part = cells.clip(slab)
            if part.size:
                at = part.within(cells.start).slices
                seen = None if valid is None else valid[at]
                buffers = self._buffers(slab)
                self._stage.decide(sums[at], seen, buffers, part.within(slab.start).slices)

    def complete(self, row: int) -> None:
        """Pass on the slabs that end at or before `row`."""
        while self._slabs and self._slabs[0].stop[0] <= row:
            self.finish()
            slab = self._slabs.popleft()
            buffers = self._buffers(slab)
            failed = [at for patch in self._spoilt if (at := patch.clip(slab)).size]
            for at in failed:
                self._stage.fill_nodata(buffers, at.within(slab.start).slices)
            self._writing = self._pool.submit(self._write, slab, buffers, not failed)
            del self._open[slab]

    def mark_failed(self, patches: Iterable[Box]) -> None:
        """Leave the cells of `patches` nodata, whatever other patches give for them."""
        self._spoilt += patches

    def _buffers(self, slab: Box) -> Buffers:
        """The buffers of a slab that is not complete yet."""
        if slab not in self._open:
            self._open[slab] = self._stage.buffers(slab.shape)
        return self._open[slab]

    def finish(self) -> None:
        """Wait for the last write."""
        if self._writing is not None:
            self._writing.result()

    def _write(self, slab: Box, buffers: Buffers, whole: bool) -> None:
        self._sink.write(slab, buffers, whole=whole)
        self._committed(slab)
