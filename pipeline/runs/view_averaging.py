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
from pipeline.geometry import Box, cut_bands
from pipeline.io.zarr import create_scores
from pipeline.jobs.job import Means
from pipeline.runs.prepared import BAND, Setup
from pipeline.runs.work_folder import SCORES, labels_sink, scores_source

_TILE = 64
"""Columns and rows of a slice that are averaged at a time."""


def begin_views(setup: Setup) -> None:
    """Make the store and the ledger of each view."""
    for view in setup.each():
        create_scores(view.folder / SCORES, view.swept, len(view.card.classes))
        Ledger(view.folder).begin(view.fingerprint())


def average(setup: Setup, means: Means, stop: Event) -> None:
    """Make the labels of all views together, band by band of the input's own grid, where they are not made yet.

    Scores are added in the order of the views, by their weights, in float32, cell by cell, whatever the bands. Raises
    Interrupted if `stop` is set.
    """
    bands = cut_bands(setup.grid.shape, means.band or BAND[3])
    done = Ledger(setup.work).done(bands)
    sources, sink = [scores_source(view) for view in setup.each()], labels_sink(setup)
    for band in (band for band in bands if band not in done):
        if stop.is_set():
            raise Interrupted
        sink.write(band, (_labels(setup, sources, band),))


def _labels(setup: Setup, sources: Sequence[Source], band: Box) -> NDArray[Any]:
    """Labels of a band; a cell that was not observed is NaN in all views and classes."""
    labels = np.empty(band.shape, setup.labels.dtype)
    weights = [view.weight for view in setup.views]
    for tile in _tiles(band):
        scores, cells = _mean(sources, weights, tile), labels[tile.within(band.start).slices]
        setup.labels(scores, cells)
        cells[np.isnan(scores).all(0)] = setup.labels.nodata
    return labels


def _mean(sources: Sequence[Source], weights: Sequence[float], box: Box) -> NDArray[np.float32]:
    parts = (source.read(box).values * np.float32(weight) for source, weight in zip(sources, weights, strict=True))
    total: NDArray[np.float32] = reduce(np.add, parts)
    return total / np.float32(sum(weights))


def _tiles(band: Box) -> Iterator[Box]:
    _, *across = (range(a, b, _TILE) for a, b in zip(band.start, band.stop, strict=True))
    for corner in product(*across):
        stop = (min(at + _TILE, end) for at, end in zip(corner, band.stop[1:], strict=True))
        yield Box((band.start[0], *corner), (band.stop[0], *stop))
