"""Plan a run: what it will take, before it begins."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import cast

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.protocols import BlockPredictor, Predictor
from pipeline.errors import RequestError, duration_text, size_text
from pipeline.files.html import escaped, table
from pipeline.geometry import Box, Cut, split_runs
from pipeline.geometry.partition import recomputed
from pipeline.io.suffixes import STORES
from pipeline.jobs.job import Job, Resources
from pipeline.runs.domain import remarks_on
from pipeline.runs.predictors import build_predictor
from pipeline.runs.prepare import prepare
from pipeline.runs.prepared import PreparedJob, bytes_per_cell
from pipeline.runs.report import Remark
from pipeline.runs.view_sweep import Averaging, ViewSweep, sweeps_of
from pipeline.sources.statistics import InputStatistics

_CURRENCY = r"[^\d\s.,+/-][^\d.,+/-]*"
_PRICE = re.compile(
    rf"(?P<before>{_CURRENCY})?(?P<number>\d+(\.\d*)?|\.\d+)\s*(?P<after>{_CURRENCY}?)??(\s*(/|\bper\b)\s*h(our)?)?",
    re.ASCII,
)


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
    and what is kept of each view if there are several."""
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

    def _repr_html_(self) -> str:
        """Return what a notebook shows: what the run will take."""
        known = {
            "input": self.input,
            "output": self.output,
            "model": f"{self.model} on {self.device}, {self.precision}, {self.runtime}",
            "patches": f"{self.patches:,}",
            "memory": size_text(self.memory_bytes),
            "disk": size_text(self.disk_bytes),
            "time": "not tried" if self.seconds is None else duration_text(self.seconds),
            **{f"warning {number}": remark.message for number, remark in enumerate(self.warnings, 1)},
        }
        return table((name, escaped(value)) for name, value in known.items())


@dataclass(frozen=True)
class Price:
    """What an hour of the machine costs."""

    per_hour: float
    currency: str = ""
    """As it was given; empty: none was."""

    def of(self, seconds: float) -> float:
        """Return what a time costs."""
        return self.per_hour * seconds / 3600


@dataclass(frozen=True)
class Total:
    """What several runs will take, one after the other."""

    items: int
    cells: int
    patches: int
    memory_bytes: int
    """Of the largest."""
    disk_bytes: int
    seconds: float | None
    """None: not measured."""


def total_of(plans: Sequence[Plan]) -> Total:
    """Return what the runs of these plans will take together."""
    times = [plan.seconds for plan in plans if plan.seconds is not None]
    return Total(
        items=len(plans),
        cells=sum(prod(plan.shape) for plan in plans),
        patches=sum(plan.patches for plan in plans),
        memory_bytes=max((plan.memory_bytes for plan in plans), default=0),
        disk_bytes=sum(plan.disk_bytes for plan in plans),
        seconds=sum(times) if len(times) == len(plans) else None,
    )


def parse_price(text: str) -> Price:
    """Return a price per hour from a text such as "2.50" or "2.50 EUR".

    >>> parse_price("2.5"), parse_price("2.50 EUR/h"), parse_price("$3")
    (Price(per_hour=2.5, currency=''), Price(per_hour=2.5, currency='EUR'), Price(per_hour=3.0, currency='$'))

    Raises:
        RequestError: If it is something else.

    """
    found = _PRICE.fullmatch(text.strip())
    if found is None or (found["before"] and found["after"]):
        raise RequestError(f"--price {text!r}: must be the price of an hour, e.g. 2.50 or '2.50 EUR'")
    return Price(float(found["number"]), (found["before"] or found["after"] or "").strip())


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
    shared = [
        sweep.runs(cut, resources.workers) if resources.workers else split_runs(cut, 1)
        for sweep, cut in zip(sweeps, slabs, strict=True)
    ]
    return Plan(
        input=job.name,
        output=str(prepared.destination),
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
        memory_bytes=_memory(prepared, [max(slab.shape[-1] for slab in cut) for cut in slabs], resources),
        disk_bytes=_disk(prepared),
        device=prepared.numerics.device,
        precision=prepared.numerics.precision,
        runtime=prepared.numerics.runtime,
        runs=sum(map(len, shared)),
        recomputed=max(
            recomputed(sweep.lattice, runs, sweep.view.blocks) for sweep, runs in zip(sweeps, shared, strict=True)
        ),
        seconds=sum(map(_seconds, sweeps)) if probe else None,
        warnings=remarks_on(prepared),
    )


def _memory(prepared: PreparedJob, widths: Sequence[int], resources: Resources) -> int:
    """Return the peak of the sweeps, whose strips have these widths, and of the averaging of their scores."""
    sizes = [
        sweep.memory(width if width < sweep.grid.shape[-1] else None)
        for sweep, width in zip(sweeps_of(prepared), widths, strict=True)
    ]
    if prepared.averaged:
        averaging = Averaging(prepared)
        sizes.append(averaging.memory(max(slab.shape[-1] for slab in averaging.slabs(resources))))
    return max(sizes)


def _disk(prepared: PreparedJob) -> int:
    written = bytes_per_cell(prepared.decisions) + _published(prepared)
    staged = prepared.itemsize * prepared.channels if prepared.staged else 0
    scores = sum(bytes_per_cell(sweep.decisions) for sweep in sweeps_of(prepared)) if prepared.averaged else 0
    return Box.whole(prepared.grid.shape).size * (written + staged + scores)


def _published(prepared: PreparedJob) -> int:
    """Bytes of a cell in the output: in NIfTI, layers are float32."""
    if prepared.grid.is_scene or prepared.output.suffix in STORES:
        return bytes_per_cell(prepared.decisions)
    return prepared.labels.dtype.itemsize + sum(4 * len(layer.bands) for layer in prepared.layers)


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
