"""Plan a run: what it will take, before it begins."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.protocols import BlockPredictor, Predictor
from pipeline.geometry import Box, Cut, split_runs
from pipeline.geometry.partition import recomputed
from pipeline.jobs.job import Job, Resources
from pipeline.runs.domain import remarks_on
from pipeline.runs.predictors import build_predictor
from pipeline.runs.prepare import prepare
from pipeline.runs.prepared import PreparedJob, bytes_per_cell
from pipeline.runs.report import Remark
from pipeline.runs.view_sweep import ViewSweep, sweeps_of
from pipeline.sources.statistics import InputStatistics


@dataclass(frozen=True)
class Plan:
    """What a run will take."""

    input: str
    output: str
    model: str
    channels: tuple[str, ...]
    """Channels of the model, with the raster bands that are used for them."""
    values: str
    """Values that the model takes: as stored, or with which scale and offset."""
    shape: tuple[int, ...]
    """Cells of the input, in array order."""
    patch: tuple[int, ...]
    """Of the first view, where there are several."""
    overlap: tuple[int, ...]
    window: str
    features: str
    """Whether features of overlapping patches are shared, or each patch computes its own."""
    patches: int
    bands: int
    """Slabs, by their older name: rows that are written at once."""
    strips: int
    """Strips into which slabs are cut to fit the memory; 1: whole rows."""
    memory_bytes: int
    """Peak memory of the sweep, without the interpreter and the network."""
    disk_bytes: int
    """Peak disk space of work folder and output: labels and layers uncompressed, a staged volume,
    and the scores of each view if there are several."""
    device: str
    precision: str
    runtime: str
    runs: int
    """Parts that workers share; 1: no workers."""
    recomputed: float
    """Patches that two workers compute, as a share of all."""
    seconds: float | None
    """Time of the network on this machine, by two patches of noise; None: not measured."""
    warnings: tuple[Remark, ...] = ()
    """In what the input is far from what the model was trained on."""


def plan(job: Job, resources: Resources = Resources(), *, probe: bool = True) -> Plan:
    """Plan a job; reads headers, and a sample of values if the model knows which it was trained on.

    Args:
        job: The job.
        resources: Speed and memory.
        probe: Whether to time the network on two patches of noise.

    Raises:
        PipelineError: If the job cannot be run.

    """
    prepared = prepare(job, resources)
    sweeps = sweeps_of(prepared)
    slabs = [sweep.slabs(resources) for sweep in sweeps]
    strips = [len({slab.start[-1] for slab in of_view}) for of_view in slabs]
    widths = [of_view[0].shape[-1] if parts > 1 else None for of_view, parts in zip(slabs, strips, strict=True)]
    shared = [
        sweep.runs(cut, resources.workers) if resources.workers else split_runs(cut, 1)
        for sweep, cut in zip(sweeps, slabs, strict=True)
    ]
    return Plan(
        input=job.name,
        output=str(prepared.output),
        model=prepared.title,
        channels=prepared.channel_descriptions,
        values=prepared.values_description,
        shape=prepared.grid.shape,
        patch=sweeps[0].lattice.patch,
        overlap=sweeps[0].lattice.overlap,
        window=prepared.window,
        features=sweeps[0].view.features,
        patches=sum(len(sweep.lattice) for sweep in sweeps),
        bands=sum(map(len, slabs)),
        strips=max(strips),
        memory_bytes=max(sweep.memory(width) for sweep, width in zip(sweeps, widths, strict=True)),
        disk_bytes=_disk(prepared),
        **asdict(prepared.numerics),
        runs=sum(map(len, shared)),
        recomputed=max(
            recomputed(sweep.lattice, runs, sweep.view.blocks) for sweep, runs in zip(sweeps, shared, strict=True)
        ),
        seconds=sum(map(_seconds, sweeps)) if probe else None,
        warnings=remarks_on(prepared),
    )


def _disk(prepared: PreparedJob) -> int:
    written = 2 * bytes_per_cell(prepared.decisions)
    staged = prepared.itemsize * prepared.channels if prepared.staged else 0
    scores = 4 * len(prepared.card.classes) * len(prepared.views) if prepared.averaged else 0
    return Box.whole(prepared.grid.shape).size * (written + staged + scores)


def _seconds(sweep: ViewSweep) -> float:
    """Return the time of all patches by the second of two calls, because the first also warms up."""
    channels = sweep.prepared.channels
    predictor = build_predictor(sweep, None, InputStatistics((0.0,) * channels, (1.0,) * channels))
    call, patches = _call(sweep, predictor)
    call()
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * len(sweep.lattice) / patches / predictor.threads


def _call(sweep: ViewSweep, predictor: Predictor | BlockPredictor) -> tuple[Callable[[], object], int]:
    """Return a call of the network with noise, and the number of patches that it computes."""
    if sweep.view.blocks is None:
        alone = cast("Predictor", predictor)
        noise = _noise((alone.batch, sweep.prepared.channels, *sweep.lattice.input_shape))
        return lambda: alone(noise, None), alone.batch
    together = cast("BlockPredictor", predictor)
    block = sweep.view.blocks.largest()
    cuts = [block.cut(patch, sweep.lattice.patch) for patch in block.patches]
    noise = _noise((sweep.prepared.channels, *block.seen.shape))
    return lambda: _call_block(together, noise, cuts), len(block.ending)


def _call_block(predictor: BlockPredictor, noise: NDArray[np.float32], cuts: Sequence[Cut]) -> None:
    """Compute a block, and the scores of the patches that lie in it."""
    for piece, cut in zip(predictor.pieces(noise, None, cuts), cuts, strict=True):
        if cut.complete:
            predictor.scores(predictor.joined([piece], [cut]))


def _noise(shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.random.default_rng(0).integers(0, 255, shape).astype(np.float32)
