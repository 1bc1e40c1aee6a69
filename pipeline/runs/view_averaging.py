"""Several views of a volume made one mask: the scores of each lie in a store until all are there, and are averaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import product
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine import Source
from pipeline.engine.ledger import Ledger
from pipeline.errors import Interrupted
from pipeline.geometry import Box, cut_slabs
from pipeline.io.zarr import create_scores
from pipeline.jobs.job import Means
from pipeline.runs.prepared import SLAB_ROWS, Setup
from pipeline.runs.work_folder import SCORES, labels_sink, scores_source

_TILE = 64
"""Columns and rows of a slice that are averaged at a time."""


def begin_views(setup: Setup) -> None:
    """Make the store and the ledger of each view."""
    for view in setup.each():
        create_scores(view.folder / SCORES, view.swept, len(view.card.classes))
        Ledger(view.folder).begin(view.fingerprint())


def average(setup: Setup, means: Means, stop: Event) -> None:
    """Make the labels of all views together, slab by slab of the input's own grid, where they are not made yet.

    Scores are added in the order of the views, by their weights, in float32, cell by cell, whatever the slabs. Raises
    Interrupted if `stop` is set.
    """
    slabs = cut_slabs(setup.grid.shape, means.rows or SLAB_ROWS[3])
    done = Ledger(setup.work).done(slabs)
    sources, sink = [scores_source(view) for view in setup.each()], labels_sink(setup)
    for slab in (slab for slab in slabs if slab not in done):
        if stop.is_set():
            raise Interrupted
        sink.write(slab, (_labels(setup, sources, slab),))


def _labels(setup: Setup, sources: Sequence[Source], slab: Box) -> NDArray[Any]:
    """Labels of a slab; a cell that was not observed is NaN in all views and classes."""
    labels = np.empty(slab.shape, setup.labels.dtype)
    weights = [view.weight for view in setup.views]
    for tile in _tiles(slab):
        scores, cells = _mean(sources, weights, tile), labels[tile.within(slab.start).slices]
        setup.labels(scores, cells)
        cells[np.isnan(scores).all(0)] = setup.labels.nodata
    return labels


def _mean(sources: Sequence[Source], weights: Sequence[float], box: Box) -> NDArray[np.float32]:
    parts = (source.read(box).values * np.float32(weight) for source, weight in zip(sources, weights, strict=True))
    total: NDArray[np.float32] = reduce(np.add, parts)
    return total / np.float32(sum(weights))


def _tiles(slab: Box) -> Iterator[Box]:
    _, *across = (range(a, b, _TILE) for a, b in zip(slab.start, slab.stop, strict=True))
    for corner in product(*across):
        stop = (min(at + _TILE, end) for at, end in zip(corner, slab.stop[1:], strict=True))
        yield Box((slab.start[0], *corner), (slab.stop[0], *stop))
