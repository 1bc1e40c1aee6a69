"""Segment one input into an output that a program brings: labels, slab by slab, as they are decided."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from numpy.typing import NDArray

from pipeline.engine import Failure, Sink, sweep
from pipeline.errors import PatchError, RequestError, counted
from pipeline.geometry import Box, split_runs
from pipeline.geometry.orientation import Orientation, inverse, orient, unturned
from pipeline.jobs.job import Job
from pipeline.runs.domain import compare_domain
from pipeline.runs.observer import PatchProgress, RunContext
from pipeline.runs.own import Own, check_alone
from pipeline.runs.predictors import build_predictor
from pipeline.runs.prepare import prepare
from pipeline.runs.prepared import PreparedJob
from pipeline.runs.report import Report
from pipeline.runs.staging import stage_and_count
from pipeline.runs.stoppable import StoppableSource
from pipeline.runs.view_sweep import ViewSweep, sweeps_of
from pipeline.runs.warm_up import verify_numerics
from pipeline.runs.work_folder import statistics_of, swept_source


@dataclass(frozen=True)
class TurnedSink:
    """A sink in the axes of a volume, for slabs of the volume as it is turned and swept."""

    sink: Sink
    shape: tuple[int, ...]
    """As it is swept."""
    orientation: Orientation

    def write(self, slab: Box, values: Sequence[NDArray[Any]], *, whole: bool = True) -> None:
        """Write a slab in the axes of the volume."""
        back = inverse(*self.orientation)
        self.sink.write(self.place(slab), [orient(each, *back) for each in values], whole=whole)

    def done(self, slabs: Sequence[Box]) -> set[Box]:
        """Return which slabs an earlier run finished, if the sink knows."""
        known = getattr(self.sink, "done", None)
        finished = set() if known is None else set(known([self.place(slab) for slab in slabs]))
        return {slab for slab in slabs if self.place(slab) in finished}

    def place(self, slab: Box) -> Box:
        """Return where a slab is in the volume."""
        return unturned(slab, self.shape, *self.orientation)


def segment_into(sink: Sink, run: RunContext, job: Job, own: Own) -> Report:
    """Segment one input into `sink`: what is decided for each slab, labels first, then the layers of the job.

    Nothing is left on the disk. If the sink has a method `done(slabs)`, those that it returns are not computed again.

    Raises:
        RequestError: The job names an output, averages several views, whose labels are decided at the end, or has
            workers.
        PatchError: The network failed on patches, which are nodata; their slabs were written as not `whole`.

    """
    if job.output is not None:
        raise RequestError(f"output {job.output}: labels go to the sink; leave it out")
    began = time.monotonic()
    check_alone(run)
    run = own.run_of(run)
    with TemporaryDirectory(prefix="pipeline-") as folder:
        prepared = prepare(replace(job, output=Path(folder, "mask.zarr")), run.resources, own)
        failures = _sweep(_ready(prepared, run), run, sink)
    if failures:
        raise PatchError(
            f"{job.name}: the network failed twice on {counted(len(failures), 'patch', 'patches')} "
            f"({failures[0].reason}); they are nodata, and their slabs are not whole"
        )
    cells = Box.whole(prepared.grid.shape).size
    return Report(job.name, None, "done", None, time.monotonic() - began, cells, prepared.title)


def _ready(prepared: PreparedJob, run: RunContext) -> ViewSweep:
    """Return the sweep of a job after all that is read before it."""
    if prepared.averaged:
        names = ", ".join(str(view.name) for view in prepared.views)
        raise RequestError(f"{prepared.job.name}: a sink is given the labels of one view, and this job has {names}")
    for remark in compare_domain(prepared).remarks:
        run.observer.note(str(remark))
    prepared.work.mkdir()
    stage_and_count(prepared, run.observer)
    (first,) = sweeps_of(prepared)
    source = StoppableSource(swept_source(first), run.observer)
    try:
        numerics = verify_numerics(first, source, statistics_of(prepared), run.observer)
    finally:
        source.close()
    (ready,) = sweeps_of(replace(prepared, numerics=numerics))
    return ready


def _sweep(view: ViewSweep, run: RunContext, sink: Sink) -> tuple[Failure, ...]:
    axes = len(view.grid.shape)
    turn = view.view.orientation or (tuple(range(axes)), (False,) * axes)
    into = TurnedSink(sink, view.grid.shape, turn)
    slabs = view.slabs(run.resources)
    done = into.done(slabs)
    todo = [slab for slab in slabs if slab not in done]
    run.observer.phase("segmenting")
    run.observer.started(sum(slab.size for slab in slabs), sum(slab.size for slab in done))
    if not todo:
        return ()
    predictor = build_predictor(view, None, statistics_of(view.prepared))
    observer = PatchProgress(run.observer, view.lattice, todo)
    source = swept_source(view)
    try:
        runs = split_runs(todo, 1)
        return tuple(chain(*(sweep(source, predictor, into, view.recipe, each, observer) for each in runs)))
    finally:
        source.close()
