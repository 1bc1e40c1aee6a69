"""What a run will take, before it is begun."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import numpy as np

from pipeline.geometry import Box, split_runs
from pipeline.jobs.job import Job, Means
from pipeline.runs.predictors import predictor_of
from pipeline.runs.prepare import prepare
from pipeline.runs.prepared import Setup, bytes_of
from pipeline.geometry.partition import recomputed


@dataclass(frozen=True)
class Plan:
    """What a run will take."""

    input: str
    output: str
    model: str
    channels: tuple[str, ...]
    """Channels of the model, with the bands of a raster that are taken for them."""
    values: str
    """What it takes of the input: values as they are stored, or with which scale and offset."""
    shape: tuple[int, ...]
    """Cells of the input, in array order."""
    patch: tuple[int, ...]
    """Of the first view, where there are several."""
    overlap: tuple[int, ...]
    window: str
    patches: int
    bands: int
    """Slabs, by their older name: rows that are written at once."""
    strips: int
    """Parts into which rows are cut to fit the memory; 1: none."""
    memory_bytes: int
    """Most that the sweep holds at a time, beside the interpreter and the network."""
    disk_bytes: int
    """Most that the work folder and the output take together: labels and layers without compression, a staged volume,
    and the scores of each view where there are several."""
    device: str
    precision: str
    runtime: str
    runs: int
    """Parts that are shared out among workers; 1: this process does it alone."""
    recomputed: float
    """Patches that two workers compute, as a share of all."""
    seconds: float | None
    """Time that the network will take here, by two patches of noise; None: not tried."""


def plan(job: Job, means: Means = Means(), *, probe: bool = True) -> Plan:
    """Plan a job: reads headers only. `probe` runs the network on two patches of noise to tell the time."""
    setup = prepare(job, means)
    views = setup.each()
    slabs = [view.slabs(means) for view in views]
    strips = [len({slab.start[-1] for slab in of_view}) for of_view in slabs]
    widths = [of_view[0].shape[-1] if parts > 1 else None for of_view, parts in zip(slabs, strips, strict=True)]
    shared = [
        view.runs(cut, means.workers) if means.workers else split_runs(cut, 1)
        for view, cut in zip(views, slabs, strict=True)
    ]
    return Plan(
        input=job.name,
        output=str(setup.output),
        model=setup.card.name,
        channels=setup.told_channels,
        values=setup.told_values,
        shape=setup.grid.shape,
        patch=setup.lattice.patch,
        overlap=setup.lattice.overlap,
        window=setup.window,
        patches=sum(len(view.lattice) for view in views),
        bands=sum(map(len, slabs)),
        strips=max(strips),
        memory_bytes=max(view.memory(width) for view, width in zip(views, widths, strict=True)),
        disk_bytes=_disk(setup),
        **asdict(setup.numerics),
        runs=sum(map(len, shared)),
        recomputed=max(recomputed(view.lattice, runs) for view, runs in zip(views, shared, strict=True)),
        seconds=sum(map(_seconds, views)) if probe else None,
    )


def _disk(setup: Setup) -> int:
    written = 2 * bytes_of((setup.labels, *(layer.decision for layer in setup.layers)))
    staged = setup.itemsize * setup.channels if setup.staged else 0
    scores = 4 * len(setup.card.classes) * len(setup.views) if setup.averaged else 0
    return Box.whole(setup.grid.shape).size * (written + staged + scores)


def _seconds(setup: Setup) -> float:
    """Patches by the time of the second of two, for the first also warms up."""
    predictor = predictor_of(setup, None, (0.0,) * setup.channels, (1.0,) * setup.channels)
    noise = np.random.default_rng(0).integers(0, 255, (predictor.batch, setup.channels, *setup.lattice.seen_shape))
    predictor(noise.astype(np.float32), None)
    began = time.perf_counter()
    predictor(noise.astype(np.float32), None)
    return (time.perf_counter() - began) * len(setup.lattice) / predictor.batch / predictor.threads
