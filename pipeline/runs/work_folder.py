"""What lies in the work folder of a run, under which name, and how it is opened."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine import Sink, Source
from pipeline.engine.ledger import Ledger
from pipeline.geometry import Box
from pipeline.io.raster.clipped import Clipped
from pipeline.io.zarr import SlabStore, ZarrSource
from pipeline.sources.reoriented import Reoriented, inverse
from pipeline.jobs.layers import Layer
from pipeline.runs.prepared import Setup

MASK, SCORES, VOLUME, STATISTICS = "mask.zarr", "scores.zarr", "volume.zarr", "statistics.json"
"""The labels; the scores of one of several views, in a folder of its name; a copy of the volume; numbers of its own."""

Numbers = tuple[float, ...]


def swept_source(setup: Setup) -> Source:
    """The input as it is swept in the view under way."""
    reading = setup.reading
    source = reading.windowed(ZarrSource(setup.work / VOLUME)) if setup.staged else reading.open(setup.job.input)
    if setup.region is not None:
        source = Clipped(source, setup.region)
    return source if setup.orientation is None else Reoriented(source, *setup.orientation)


def scores_source(view: Setup) -> Source:
    """The scores of one of several views, in the axes of the input."""
    source: Source = ZarrSource(view.folder / SCORES)
    return source if view.orientation is None else Reoriented(source, *inverse(*view.orientation))


def statistics_of(setup: Setup) -> tuple[Numbers, Numbers]:
    """Shift and spread of each channel of the input, for a model that scales by them; else nothing."""
    if not setup.needs_statistics:
        return (), ()
    numbers = json.loads((setup.work / STATISTICS).read_text(encoding="utf-8"))
    if setup.card.normalisation.kind == "percentile":
        return tuple(numbers["shift"]), tuple(numbers["spread"])
    mean, std = (np.atleast_1d(numbers[name]).tolist() for name in ("mean", "std"))  # older folders have one number
    return tuple(mean), tuple(std)


def store_of(setup: Setup, layer: Layer) -> Path:
    """The store of a layer."""
    return setup.work / f"{layer.name}.zarr"


def labels_sink(setup: Setup) -> Sink:
    """Where labels and layers go."""
    paths = (setup.work / MASK, *(store_of(setup, layer) for layer in setup.layers))
    return Marking(tuple(map(SlabStore, paths)), Ledger(setup.work))


def swept_sink(setup: Setup) -> Sink:
    """Where what is decided in the view under way goes: labels and layers, or scores to be averaged."""
    if not setup.averaged:
        return labels_sink(setup)
    return Marking((SlabStore(setup.folder / SCORES),), Ledger(setup.folder))


@dataclass(frozen=True)
class Marking:
    """A sink that notes each slab in the ledger once its stores have it."""

    stores: tuple[SlabStore, ...]
    ledger: Ledger

    def write(self, slab: Box, values: Sequence[NDArray[Any]], *, whole: bool = True) -> None:
        """Write a slab, and note it if it is whole."""
        for store, written in zip(self.stores, values, strict=True):
            store.write(slab, written)
        if whole:
            self.ledger.mark(slab)
