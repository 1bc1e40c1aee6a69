"""What a run will take, before it is begun."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import numpy as np

from pipeline.geometry import Box
from pipeline.job import Job, Means
from pipeline.network import predictor_of
from pipeline.prepare import Setup, prepare


@dataclass(frozen=True)
class Plan:
    """What a run will take."""

    input: str
    output: str
    model: str
    shape: tuple[int, ...]
    """Cells of the input, in array order."""
    patch: tuple[int, ...]
    overlap: tuple[int, ...]
    window: str
    patches: int
    bands: int
    strips: int
    """Parts into which rows are cut to fit the memory; 1: none."""
    memory_bytes: int
    """Most that the sweep holds at a time, beside the interpreter and the network."""
    disk_bytes: int
    """Most that the work folder and the output take together: labels without compression, and a staged volume."""
    device: str
    precision: str
    runtime: str
    seconds: float | None
    """Time that the network will take here, by two patches of noise; None: not tried."""


def plan(job: Job, means: Means = Means(), *, probe: bool = True) -> Plan:
    """Plan a job: reads headers only. `probe` runs the network on two patches of noise to tell the time."""
    setup = prepare(job, means)
    bands = setup.bands(means)
    strips = len({band.start[-1] for band in bands})
    width = bands[0].shape[-1] if strips > 1 else None
    cells = Box.whole(setup.grid.shape).size
    staged = cells * setup.itemsize * setup.channels if setup.staged else 0
    return Plan(
        input=job.input,
        output=str(setup.output),
        model=setup.card.name,
        shape=setup.grid.shape,
        patch=setup.lattice.patch,
        overlap=setup.lattice.overlap,
        window=setup.window,
        patches=len(setup.lattice),
        bands=len(bands),
        strips=strips,
        memory_bytes=setup.memory(width),
        disk_bytes=2 * cells * setup.decision.dtype.itemsize + staged,
        **asdict(setup.numerics),
        seconds=_seconds(setup) if probe else None,
    )


def _seconds(setup: Setup) -> float:
    """Patches by the time of the second of two, for the first also warms up."""
    predictor = predictor_of(setup, None, (0.0,), (1.0,))
    noise = np.random.default_rng(0).integers(0, 255, (predictor.batch, setup.channels, *setup.lattice.seen_shape))
    predictor(noise.astype(np.float32), None)
    began = time.perf_counter()
    predictor(noise.astype(np.float32), None)
    return (time.perf_counter() - began) * len(setup.lattice) / predictor.batch / predictor.threads
