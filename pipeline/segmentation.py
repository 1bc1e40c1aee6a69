"""One input from end to end: prepare, sweep, publish; and go on where an earlier run was stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any, Literal

from numpy.typing import NDArray

from pipeline.engine import Watch, sweep
from pipeline.engine.ledger import Ledger, differences
from pipeline.engine.protocols import Source
from pipeline.errors import Interrupted, OutputError
from pipeline.geometry import Box, split_runs
from pipeline.geometry.bands import Run
from pipeline.io.formats import Mask, about, in_the_way, open_source, publish, remove
from pipeline.io.slabs import slabs
from pipeline.io.store import LabelStore, ZarrSource, create_labels, stage_volume
from pipeline.io.views import Reoriented, inverse
from pipeline.job import Job, Means
from pipeline.prepare import ROUNDING, Setup, prepare
from pipeline.progress import Progress, Ticker, watch_of
from pipeline.statistics import Foreground

_MASK, _VOLUME, _DRAFT, _STATISTICS = "mask.zarr", "volume.zarr", "volume.new.zarr", "statistics.json"


@dataclass(frozen=True)
class Report:
    """What became of one item."""

    input: str
    output: str | None
    status: Literal["done", "skipped", "failed"]
    reason: str | None
    """Why it was skipped or failed."""
    seconds: float
    cells: int
    """Cells of the input's grid."""
    model: str | None = None


def segment(job: Job, means: Means = Means(), progress: Progress = Progress(), stop: Event | None = None) -> Report:
    """Segment one input into a mask file of exactly its geometry.

    Work lies in `<output>.partial` until the output is whole; the same call goes on from there after a crash. An output
    that was made by just this job is left alone. Raises PipelineError with the place, both values and the way out;
    Interrupted if `stop` is set meanwhile.
    """
    began = time.monotonic()
    setup = prepare(job, means)
    cells = Box.whole(setup.grid.shape).size
    ledger = Ledger(setup.work)
    if ledger.begun and not means.restart:
        setup = _as_begun(setup, means, ledger)
    if _is_made(setup, means):
        if ledger.begun and not ledger.differences(setup.fingerprint()):
            remove(setup.work)
        return Report(
            job.input, str(setup.output), "skipped", "already made by this very job", 0.0, cells, setup.card.name
        )
    _open(setup, means, ledger)
    with _tidied(setup, ledger):
        setup = _begin(setup, ledger, progress)
        _sweep(setup, means, ledger, progress, stop or Event())
    progress.phase("writing")
    _publish(setup)
    remove(setup.work)
    return Report(job.input, str(setup.output), "done", None, time.monotonic() - began, cells, setup.card.name)


@dataclass(frozen=True)
class Task:
    """A run of bands, as it is sent to a worker."""

    setup: Setup
    run: Run
    threads: int | None
    """Calls of the network at a time; None: one for each core."""


def sweep_task(task: Task, watch: Watch = Watch()) -> None:
    """Sweep the bands of a task that are not done yet; several workers may do so at once, each with its own bands."""
    from pipeline.network import predictor_of

    setup = task.setup
    ledger = Ledger(setup.work)
    done = ledger.done(task.run)
    source = _view(setup)
    sink = _Marking(LabelStore(setup.work / _MASK), ledger)
    try:
        predictor = predictor_of(setup, task.threads, *_statistics(setup))
        for run in split_runs([band for band in task.run if band not in done], 1):
            sweep(source, predictor, sink, setup.recipe, run, watch)
    finally:
        source.close()


@dataclass(frozen=True)
class _Marking:
    """A sink that notes each band in the ledger once the store has it."""

    store: LabelStore
    ledger: Ledger

    def write(self, band: Box, values: NDArray[Any]) -> None:
        self.store.write(band, values)
        self.ledger.mark(band)


def _is_made(setup: Setup, means: Means) -> bool:
    """Whether the output is there and was made by this very job; refuses to replace any other unless it may."""
    if means.overwrite:
        return False
    if other := in_the_way(setup.output):
        raise OutputError(
            f"{other}: would be replaced by the mask's own; --overwrite allows it, or give another --output"
        )
    if not setup.output.exists():
        return False
    made = about(setup.output).made
    now = {**setup.fingerprint(), **({} if made is None else {name: made.get(name) for name in ROUNDING})}
    differing = "something else" if made is None else differences(made, now)
    if differing:
        raise OutputError(
            f"{setup.output}: is there already, made with {differing}; "
            "--overwrite replaces it, or give another --output"
        )
    return True


def _open(setup: Setup, means: Means, ledger: Ledger) -> None:
    """Find the work folder as this very run left it, or make a new one; refuse that of another run."""
    if ledger.begun and not means.restart:
        ledger.check(setup.fingerprint())
        return
    try:
        remove(setup.work)
        setup.work.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"{setup.work}: cannot be created ({error.strerror}); give another --output") from error


@contextmanager
def _tidied(setup: Setup, ledger: Ledger) -> Iterator[None]:
    """Where something goes wrong before any band is done, no work folder stays behind."""
    try:
        yield
    except Interrupted:
        raise
    except Exception:
        if not ledger.any_done:
            remove(setup.work)
        raise


def _as_begun(setup: Setup, means: Means, ledger: Ledger) -> Setup:
    """The setup in the numerics of the run that was begun, where the user asks for no others."""
    begun = ledger.fingerprint
    precision, runtime = means.precision or begun.get("precision"), means.runtime or begun.get("runtime")
    return prepare(setup.job, replace(means, precision=precision, runtime=runtime))


def _begin(setup: Setup, ledger: Ledger, progress: Progress) -> Setup:
    """Everything in the work folder that the sweep needs and that is not there yet; the ledger comes last.

    The setup as it is to be run: its numerics are tried first.
    """
    from pipeline.trial import tried

    _look_through(setup, progress)
    if ledger.begun:
        return setup
    source = _view(setup)
    try:
        setup = tried(setup, source, *_statistics(setup), progress)
    finally:
        source.close()
    _create(setup, setup.work / _MASK)
    ledger.begin(setup.fingerprint())
    return setup


def _look_through(setup: Setup, progress: Progress) -> None:
    """Stage a volume and take its statistics, both in one pass, where either is needed and not there yet."""
    volume, statistics = setup.work / _VOLUME, setup.work / _STATISTICS
    staging = setup.staged and not volume.exists()
    counting = setup.needs_statistics and not statistics.exists()
    if not (staging or counting):
        return
    progress.phase("reading")
    seen = Foreground()
    source = open_source(setup.job.input, bands=setup.job.bands)
    try:
        if staging:
            stage_volume(source, setup.work / _DRAFT, seen.add)
            (setup.work / _DRAFT).rename(volume)
        else:
            for _, pixels in slabs(source, 1):
                seen.add(pixels.values)
    finally:
        source.close()
    if counting:
        statistics.write_text(json.dumps({"mean": seen.mean, "std": seen.std}), encoding="utf-8")


def _create(setup: Setup, path: Path) -> None:
    create_labels(
        path,
        setup.swept,
        setup.decision.dtype,
        nodata=int(setup.decision.nodata),
        classes=setup.classes,
        made=setup.fingerprint(),
    )


def _view(setup: Setup) -> Source:
    """The input as it is swept."""
    job = setup.job
    source = ZarrSource(setup.work / _VOLUME) if setup.staged else open_source(job.input, bands=job.bands)
    return source if setup.orientation is None else Reoriented(source, *setup.orientation)


def _statistics(setup: Setup) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if not setup.needs_statistics:
        return (), ()
    numbers = json.loads((setup.work / _STATISTICS).read_text(encoding="utf-8"))
    return (numbers["mean"],), (numbers["std"],)


def _sweep(setup: Setup, means: Means, ledger: Ledger, progress: Progress, stop: Event) -> None:
    from pipeline import cluster

    bands = setup.bands(means)
    done = ledger.done(bands)
    progress.phase("segmenting")
    progress.begun(sum(band.size for band in bands), sum(band.size for band in done))
    todo = [band for band in bands if band not in done]
    if not todo:
        return
    if means.workers is None and means.scheduler is None:
        watch = watch_of(setup.lattice, todo, progress, stop)
        tasks = [Task(setup, run, None) for run in split_runs(todo, 1)]
        cluster.map_here(_Watched(watch), tasks)
        return
    tasks = [Task(setup, run, 1) for run in split_runs(todo, means.workers or 4)]
    tick = Ticker(ledger, todo, progress, stop)
    cluster.map_out(sweep_task, tasks, workers=means.workers, scheduler=means.scheduler, tick=tick)


@dataclass(frozen=True)
class _Watched:
    watch: Watch

    def __call__(self, task: Task) -> None:
        sweep_task(task, self.watch)


def _publish(setup: Setup) -> None:
    store = setup.work / _MASK
    if setup.output.suffix == ".zarr" and setup.orientation is None:
        remove(setup.output)
        store.rename(setup.output)
        return
    labels: Source = ZarrSource(store)
    if setup.orientation is not None:
        labels = Reoriented(labels, *inverse(*setup.orientation))
    nodata = int(setup.decision.nodata)
    publish(Mask(labels, setup.grid, nodata, setup.classes, setup.fingerprint()), setup.output)
