"""Average several views of a volume into one mask and its layers: what each gave is stored until all are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine import Source
from pipeline.engine.ledger import Ledger
from pipeline.engine.observer import check_stop
from pipeline.geometry import Box
from pipeline.runs.observer import RunContext
from pipeline.runs.prepared import PreparedJob
from pipeline.runs.view_sweep import TILE, Averaging, sweeps_of
from pipeline.runs.work_folder import labels_sink, scores_source


def average(prepared: PreparedJob, run: RunContext) -> None:
    """Decide labels and layers of all views together, slab by slab of the input's own grid, where that is not done yet.

    Scores are added in the order of the views, by their weights, in float32, cell by cell, whatever the slabs.

    Raises:
        Interrupted: If the run is to stop.

    """
    slabs = Averaging(prepared).slabs(run.resources)
    done = Ledger(prepared.work).done(slabs)
    sources, sink = [scores_source(sweep) for sweep in sweeps_of(prepared)], labels_sink(prepared)
    for slab in (slab for slab in slabs if slab not in done):
        check_stop(run.observer)
        sink.write(slab, _decided(prepared, sources, slab))


def _decided(prepared: PreparedJob, sources: Sequence[Source], slab: Box) -> list[NDArray[Any]]:
    """Return what is decided of a slab; a cell that was not observed is NaN in all views and classes."""
    decided = [np.empty((*each.planes, *slab.shape), each.dtype) for each in prepared.decisions]
    weights, classes = [view.weight for view in prepared.views], len(prepared.card.classes)
    for tile in _tiles(slab):
        scores, at = mean_scores(sources, weights, tile), tile.within(slab.start).slices
        unseen = np.isnan(scores).all(0)
        scores[:, unseen] = 0
        for decision, values in zip(prepared.decisions, decided, strict=True):
            cells = values[(slice(None),) * len(decision.planes) + at]
            decision(scores if decision.needs_second_moment else scores[:classes], cells)
            cells[..., unseen] = decision.nodata
    return decided


def mean_scores(sources: Sequence[Source], weights: Sequence[float], box: Box) -> NDArray[np.float32]:
    """Return the weighted mean of the scores `(planes, *box.shape)` of several views, and of their squares."""
    parts = (source.read(box).values * np.float32(weight) for source, weight in zip(sources, weights, strict=True))
    total: NDArray[np.float32] = reduce(np.add, parts)
    return total / np.float32(sum(weights))


def _tiles(slab: Box) -> Iterator[Box]:
    _, *across = (range(a, b, TILE) for a, b in zip(slab.start, slab.stop, strict=True))
    for corner in product(*across):
        stop = (min(at + TILE, end) for at, end in zip(corner, slab.stop[1:], strict=True))
        yield Box((slab.start[0], *corner), (slab.stop[0], *stop))
