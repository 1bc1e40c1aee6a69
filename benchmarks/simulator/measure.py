"""What each stage costs here: the real engine and doors, with clocks at their seams.

Seconds are those of a core, by the clocks of threads and processes, so that a busy machine hardly changes them. Only
writing goes by the wall clock, for it waits for the disk, and the least of several counts. Blending and the making of
the mask are what a larger scene takes more than a smaller one, so that what they take once is not in them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from typing import TypeVar

from benchmarks import random_model
from benchmarks.null_network import NullNetwork
from benchmarks.scenes import sample_scene
from benchmarks.simulator.costs import Costs
from benchmarks.simulator.timed import TimedPredictor, TimedSink, TimedSource
from pipeline.engine import Predictor, sweep
from pipeline.engine.ledger import Ledger
from pipeline.files.atomic import remove
from pipeline.io.zarr import mask_of
from pipeline.jobs.job import Job, Resources
from pipeline.models.spec import Backbone
from pipeline.runs.cluster import map_distributed
from pipeline.runs.predictors import build_predictor
from pipeline.runs.prepare import prepare
from pipeline.runs.publish import publish
from pipeline.runs.stores import parts_of
from pipeline.runs.view_sweep import ViewSweep, sweeps_of
from pipeline.runs.work_folder import MASK, labels_sink, swept_source

REPEATS, TASKS = 5, 200
"""Sweeps with a network that costs nothing, and tasks that do nothing."""
BEGUN = 1664
"""Side of the least scene on which a run tries its numerics as thoroughly as on any."""
MEANS = Resources(device="cpu")
Task = TypeVar("Task")


@dataclass(frozen=True)
class Swept:
    """A sweep that was timed."""

    source: TimedSource
    network: TimedPredictor
    sink: TimedSink
    blend_s: float
    """CPU seconds of the thread that blends and decides."""


@dataclass(frozen=True)
class Free:
    """What is measured with a network that costs nothing."""

    sweeps: tuple[Swept, ...]
    blend_s: float
    publish_s: float
    """CPU seconds of all threads to make the mask of the store."""


def measure(folder: Path, side: int, backbone: Backbone) -> Costs:
    """Costs on this machine, by scenes of `side` pixels and of half of it made in `folder`."""
    less, view = (_prepared(folder, length, backbone) for length in (side // 2, side))
    small, large, mpx = _free(less), _free(view), side * side / 1e6
    store_mb, mask_mb = (
        _megabytes(view.prepared.work / MASK / mask_of(view.prepared.grid)),
        _megabytes(view.prepared.output),
    )
    real = _swept(view, build_predictor(view, 1))
    patch_s = median(real.network.seconds)
    patch_mpx = (len(view.lattice) - len(less.lattice)) * prod(view.lattice.patch) / 1e6
    return Costs(
        backbone=backbone,
        numerics=f"{view.prepared.numerics.precision}, {view.prepared.numerics.runtime}",
        patch=view.lattice.patch[0],
        overlap=view.lattice.overlap[0],
        block=real.source.block[0],
        slab=real.source.rows,
        band=view.slabs(MEANS)[0].shape[0],
        decode_s=median(seconds for one in large.sweeps for seconds in one.source.seconds_of_mpx),
        patch_s=patch_s,
        blend_s=(large.blend_s - small.blend_s) / patch_mpx,
        write_s=min(seconds for one in large.sweeps for seconds in one.sink.seconds_of_mpx),
        publish_s=(large.publish_s - small.publish_s) / (mpx * 3 / 4),
        read_mb=_megabytes(Path(view.prepared.job.input)) / mpx,
        store_mb=store_mb / mpx,
        mask_mb=mask_mb / mpx,
        **_starts(folder, backbone),
    )


def command(scene: Path, mask: Path, model: Path, workers: int) -> list[str]:
    """Segments a scene anew with so many workers."""
    means = ["--device", "cpu", "--workers", str(workers), "--overwrite", "--restart", "--quiet"]
    places = ["--input", str(scene), "--output", str(mask), "--model", str(model)]
    return [sys.executable, "-m", "pipeline.cli", "run", *places, *means]


def _prepared(folder: Path, side: int, backbone: Backbone) -> ViewSweep:
    random_model.write(folder / backbone, backbone=backbone)
    scene = sample_scene(folder, side, side)
    (view,) = sweeps_of(prepare(Job(str(scene), folder / "simulator.tif", str(folder / backbone)), MEANS))
    return view


def _swept(view: ViewSweep, predictor: Predictor) -> Swept:
    prepared = view.prepared
    remove(prepared.work)
    for part in parts_of(prepared):
        part.create()
    Ledger(prepared.work).begin(prepared.fingerprint())
    source, network, sink = TimedSource(swept_source(view)), TimedPredictor(predictor), TimedSink(labels_sink(prepared))
    began = time.thread_time()
    try:
        sweep(source, network, sink, view.recipe, view.slabs(MEANS))
    finally:
        source.close()
    return Swept(source, network, sink, time.thread_time() - began)


def _free(view: ViewSweep) -> Free:
    sweeps = tuple(_swept(view, NullNetwork()) for _ in range(REPEATS))
    published = [_cpu(lambda: publish(view.prepared, 0)) for _ in range(REPEATS)]
    return Free(sweeps, median(one.blend_s for one in sweeps), median(published))


def _megabytes(path: Path) -> float:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def _starts(folder: Path, backbone: Backbone) -> dict[str, float]:
    """What it takes to begin, by tasks that do nothing or only load the model, and by the command beside its worker."""
    view = _prepared(folder, BEGUN, backbone)
    here, there = _map(_nothing, None, 1)
    here_many, there_many = _map(_nothing, None, 1 + TASKS)
    _, there_loaded = _map(_load, view, 1)
    call = command(Path(view.prepared.job.input), view.prepared.output, folder / backbone, 1)
    before = _of_children()
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
    task_s = (here_many - here + there_many - there) / TASKS
    return {"begin_s": _of_children() - before, "worker_s": there_loaded, "task_s": task_s}


def _map(function: Callable[[Task], float], task: Task, count: int) -> tuple[float, float]:
    """Map `function` over `count` tasks: CPU seconds of this process, and those of the worker after the last task."""
    tasks = {f"task-{number}": task for number in range(count)}
    before = time.process_time()
    there = map_distributed(function, lambda _: tasks, workers=1, tick=lambda: None)
    return time.process_time() - before, max(there)


def _nothing(task: None) -> float:
    return time.process_time()


def _load(view: ViewSweep) -> float:
    build_predictor(view, 1)
    return time.process_time()


def _cpu(work: Callable[[], object]) -> float:
    """CPU seconds of this process."""
    before = time.process_time()
    work()
    return time.process_time() - before


def _of_children() -> float:
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
