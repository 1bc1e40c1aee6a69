"""Sweep the slabs of a run that are not done yet, here or on workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from pipeline.engine import Failure, sweep
from pipeline.engine.ledger import Ledger
from pipeline.geometry import Box, split_runs
from pipeline.geometry.slabs import Run
from pipeline.runs import predictors
from pipeline.runs.allocator import spare_memory
from pipeline.runs.local import map_local
from pipeline.runs.observer import SILENT, LedgerProgress, Observer, PatchProgress, RunContext
from pipeline.runs.prepared import PreparedJob
from pipeline.runs.sent_models import with_fetched_models, with_sent_models
from pipeline.runs.shared_paths import check_seen, needed_paths, with_absolute_paths
from pipeline.runs.view_sweep import ViewSweep, sweeps_of
from pipeline.runs.work_folder import fetched_by_workers, joined, statistics_of, swept_sink, swept_source


@dataclass(frozen=True)
class Task:
    """A run of slabs of one view, as it is sent to a worker."""

    sweep: ViewSweep
    run: Run
    threads: int | None
    """Calls of the network at a time; None: one for each core."""
    needs: tuple[Path, ...] = ()
    """What a worker must see."""
    fetched: tuple[str, ...] = ()
    """Files of a work folder in an object store that a worker fetches first, by their names beside the output."""


def sweep_task(task: Task, observer: Observer = SILENT) -> tuple[Failure, ...]:
    """Sweep the slabs of a task that are not done yet, and return the patches that the network failed on.

    Several workers may do so at once, each with its own slabs.
    """
    check_seen(task.needs)
    spare_memory(task.sweep.prepared.numerics)
    with joined(task.sweep, task.fetched) as view:
        return _sweep(replace(view, prepared=with_fetched_models(view.prepared)), task, observer)


def _sweep(view: ViewSweep, task: Task, observer: Observer) -> tuple[Failure, ...]:
    done = Ledger(view.folder).done(task.run)
    source, sink = swept_source(view), swept_sink(view)
    try:
        predictor = predictors.build_predictor(view, task.threads, statistics_of(view.prepared))
        runs = split_runs([slab for slab in task.run if slab not in done], 1)
        return tuple(chain(*(sweep(source, predictor, sink, view.recipe, run, observer) for run in runs)))
    finally:
        source.close()


class _Remaining(NamedTuple):
    """What is to be done of a view."""

    view: ViewSweep
    todo: list[Box]
    done: int
    """Cells that an earlier run did."""


def sweep_remaining(prepared: PreparedJob, run: RunContext) -> tuple[Failure, ...]:
    """Sweep what is left of each view, and return the patches that the network failed on, each once.

    Views are swept one after the other here, and all at once with workers.

    Raises:
        Interrupted: If the run is to stop.

    """
    left = [_remaining(view, view.slabs(run.resources)) for view in sweeps_of(prepared)]
    done = sum(part.done for part in left)
    run.observer.phase("segmenting")
    run.observer.started(done + sum(slab.size for part in left for slab in part.todo), done)
    left = [part for part in left if part.todo]
    if run.resources.workers is None and run.resources.scheduler is None:
        failures = _sweep_local(left, run.observer)
    else:
        failures = _sweep_distributed(left, run) if left else []
    return tuple(dict.fromkeys(chain(*failures)))


def _remaining(view: ViewSweep, slabs: Sequence[Box]) -> _Remaining:
    done = Ledger(view.folder).done(slabs)
    return _Remaining(view, [slab for slab in slabs if slab not in done], sum(slab.size for slab in done))


def _sweep_local(left: Sequence[_Remaining], observer: Observer) -> list[tuple[Failure, ...]]:
    failures: list[tuple[Failure, ...]] = []
    for view, todo, _ in left:
        followed = partial(sweep_task, observer=PatchProgress(observer, view.lattice, todo))
        failures += map_local(followed, [Task(view, run, None) for run in split_runs(todo, 1)])
    return failures


def _sweep_distributed(left: Sequence[_Remaining], run: RunContext) -> list[tuple[Failure, ...]]:
    from pipeline.runs.cluster import DaskWorkers, map_distributed  # takes half a second

    followed: list[LedgerProgress] = []

    def look() -> None:
        for view in followed:
            view.look()

    if run.resources.scheduler is not None:
        left[0].view.prepared.storage.save()  # where workers find it

    def tasks(workers: int) -> dict[str, Task]:
        if not workers:
            run.observer.note(_no_worker(scheduler))
        shared = [(view, view.runs(todo, max(1, workers))) for view, todo, _ in left]
        if not followed:  # else the workers were stopped meanwhile
            followed.extend(_followed(view, [*chain(*runs)], run) for view, runs in shared)
        return {
            _task_name(view, part): _task_elsewhere(_travelling(view, run), part)
            for view, runs in shared
            for part in runs
        }

    count, scheduler = run.resources.workers, run.resources.scheduler
    if run.workers is None:
        return map_distributed(sweep_task, tasks, workers=count, scheduler=scheduler, tick=look)
    return run.workers.map(partial(DaskWorkers, count, scheduler), sweep_task, tasks, tick=look)


def _no_worker(scheduler: str | None) -> str:
    return f"no worker has joined the Dask cluster {scheduler} yet; waiting for one, see `dask worker --help`"


def _travelling(view: ViewSweep, run: RunContext) -> ViewSweep:
    """Return a view as workers take it: those of this machine write where the run does, others find its models, too."""
    prepared = view.prepared
    if run.resources.scheduler is None:
        return replace(view, prepared=replace(prepared, job=replace(prepared.job, output=prepared.output)))
    return replace(view, prepared=with_sent_models(prepared))


def _task_elsewhere(view: ViewSweep, run: Run) -> Task:
    """Return the task of a worker that may have another working folder."""
    prepared = with_absolute_paths(view.prepared)
    return Task(replace(view, prepared=prepared), run, 1, needed_paths(prepared), fetched_by_workers(view))


def _followed(view: ViewSweep, slabs: Sequence[Box], run: RunContext) -> LedgerProgress:
    ledger, storage = Ledger(view.folder), view.prepared.storage
    elsewhere = run.resources.scheduler is not None
    look = partial(storage.gather, ledger.marks) if elsewhere else storage.save_at_times
    return LedgerProgress(ledger, slabs, run.observer, look)


def _task_name(view: ViewSweep, run: Run) -> str:
    """Return the name of a task on the dashboard, which groups tasks by the text before the first hyphen."""
    first, last = run[0], run[-1]
    place = " ".join(f"{start}:{stop}" for start, stop in zip(first.start, last.stop, strict=True))
    kind = f"sweep {view.view.name}" if view.prepared.averaged else "sweep"
    return f"{kind}-{view.prepared.destination} {place}"
