"""What is in the work folder of a run, under which names, and how it is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine import Sink, Source
from pipeline.engine.ledger import Ledger
from pipeline.errors import DamagedError
from pipeline.files.sealed import read_sealed
from pipeline.geometry import Box
from pipeline.geometry.orientation import inverse
from pipeline.io.raster.clipped import ClippedSource
from pipeline.io.zarr import SlabStore, StagedVolume, WorkSource
from pipeline.jobs.layers import Layer
from pipeline.runs.disk_storage import do_nothing
from pipeline.runs.prepared import PreparedJob
from pipeline.runs.storage import at_hand, told
from pipeline.runs.view_sweep import ViewSweep
from pipeline.sources.reoriented import ReorientedSource
from pipeline.sources.statistics import NO_STATISTICS, InputStatistics

MASK, SCORES, VOLUME, STATISTICS = "mask.zarr", "scores.zarr", "volume.zarr", "statistics.json"
"""The labels; the scores of one of several views, in a folder with its name; a copy of the volume; its statistics."""


def swept_source(sweep: ViewSweep) -> Source:
    """Open the input as it is swept in a view."""
    prepared, orientation = sweep.prepared, sweep.view.orientation
    reading = prepared.reading
    staged = StagedVolume(prepared.work / VOLUME, prepared.storage.fetch) if prepared.staged else None
    source = reading.open(prepared.input) if staged is None else reading.repeat_channels(staged)
    if prepared.region is not None:
        source = ClippedSource(source, prepared.region)
    return source if orientation is None else ReorientedSource(source, *orientation)


def scores_source(sweep: ViewSweep) -> Source:
    """Open the scores of one of several views, in the axes of the input."""
    source: Source = WorkSource(sweep.folder / SCORES)
    orientation = sweep.view.orientation
    return source if orientation is None else ReorientedSource(source, *inverse(*orientation))


def statistics_of(prepared: PreparedJob) -> InputStatistics:
    """Return the statistics of the input, for a model that normalizes by them; else none.

    Raises:
        DamagedError: If their file is gone or damaged.

    """
    if not prepared.needs_statistics:
        return NO_STATISTICS
    numbers = read_sealed(prepared.work / STATISTICS)
    names = ("shift", "spread") if prepared.card.normalization.kind == "percentile" else ("mean", "std")
    try:
        first, second = (np.atleast_1d(numbers[name]).astype(float).tolist() for name in names)
    except (KeyError, ValueError, TypeError) as error:
        raise DamagedError(f"{prepared.work / STATISTICS}: is damaged ({error!r})") from error
    return InputStatistics(tuple(first), tuple(second))  # older folders have one number for all channels


def store_of(prepared: PreparedJob, layer: Layer) -> Path:
    """Return the store of a layer."""
    return prepared.work / f"{layer.name}.zarr"


def fetched_by_workers(sweep: ViewSweep) -> tuple[str, ...]:
    """Return the files that a worker fetches before it sweeps a view, by their names beside the output.

    None if the work folder is on a disk, which workers see.
    """
    prepared = sweep.prepared
    if isinstance(prepared.destination, Path):
        return ()
    stores = [*_stores_of(sweep), *([prepared.work / VOLUME] if prepared.staged else [])]
    files = [prepared.work / STATISTICS] if prepared.needs_statistics else []
    files += [file for store in stores for file in SlabStore(store).metadata_files()]
    return tuple(str(file.relative_to(prepared.output.parent)) for file in files)


@contextmanager
def joined(sweep: ViewSweep, names: Sequence[str]) -> Iterator[ViewSweep]:
    """Give the sweep of a worker a folder of its own, with these files and the marks of what is done, if any are named.

    Raises:
        PipelineError: What the block raises, with objects in place of files here.

    """
    destination = sweep.prepared.destination
    if isinstance(destination, Path) or not names:
        yield sweep
        return
    with at_hand(destination.apart()) as output, told(output):
        prepared = replace(sweep.prepared, job=replace(sweep.prepared.job, output=output))
        own = replace(sweep, prepared=prepared)
        prepared.storage.fetch(output.folder / name for name in names)
        prepared.storage.gather(Ledger(own.folder).marks)
        yield own


def labels_sink(prepared: PreparedJob) -> Sink:
    """Return the sink of labels and layers."""
    return CommittingSink(
        tuple(map(SlabStore, _stores_of_labels(prepared))), Ledger(prepared.work), prepared.storage.keep
    )


def swept_sink(sweep: ViewSweep) -> Sink:
    """Return the sink of a view: labels and layers, or scores to be averaged."""
    if not sweep.prepared.averaged:
        return labels_sink(sweep.prepared)
    return CommittingSink((SlabStore(sweep.folder / SCORES),), Ledger(sweep.folder), sweep.prepared.storage.keep)


def _stores_of(sweep: ViewSweep) -> tuple[Path, ...]:
    return (sweep.folder / SCORES,) if sweep.prepared.averaged else _stores_of_labels(sweep.prepared)


def _stores_of_labels(prepared: PreparedJob) -> tuple[Path, ...]:
    return prepared.work / MASK, *(store_of(prepared, layer) for layer in prepared.layers)


@dataclass(frozen=True)
class CommittingSink:
    """A sink that records each slab in the ledger once its stores have it."""

    stores: tuple[SlabStore, ...]
    ledger: Ledger
    keep: Callable[[Iterable[Path]], None] = do_nothing
    """Is given the files that were just written, to make them safe elsewhere too."""

    def write(self, slab: Box, values: Sequence[NDArray[Any]], *, whole: bool = True) -> None:
        """Write a slab, and record it if it is whole."""
        for store, written in zip(self.stores, values, strict=True):
            store.write(slab, written)
        self.keep(chain(*(store.all_chunk_files(slab) for store in self.stores)))
        if whole:
            self.ledger.mark(slab, {store.path.name: store.digests(slab) for store in self.stores})
            self.keep([self.ledger.mark_file(slab)])
