"""Segment one input from start to end: prepare, sweep, publish; and resume where an earlier run stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from threading import Event
from typing import Literal

from pipeline.engine import Failure, PlainSource, Predictor, Sink, Source
from pipeline.engine.ledger import Ledger
from pipeline.errors import (
    DamagedError,
    OutputError,
    PatchError,
    PipelineError,
    counted,
)
from pipeline.files.atomic import remove_stale_temporaries
from pipeline.files.object_path import ObjectPath
from pipeline.geometry import Box
from pipeline.jobs.job import Job, Resources
from pipeline.runs.domain import DomainComparison, compare_domain
from pipeline.runs.done import clear_up, is_done_already, look, remove_leftovers, tell_damage
from pipeline.runs.fork_server import expect_workers
from pipeline.runs.observer import SILENT, Observer, Renamed, RepeatCounter, RunContext, Stoppable
from pipeline.runs.own import NOTHING, Own
from pipeline.runs.prepare import prepare
from pipeline.runs.prepared import PreparedJob
from pipeline.runs.publish import (
    MEAN,
    SEAMS,
    check_observed,
    publish,
)
from pipeline.runs.report import Report
from pipeline.runs.shared_workers import SharedWorkers
from pipeline.runs.storage import at_hand, renamed, told
from pipeline.runs.stores import check, labels_part, view_parts
from pipeline.runs.view_averaging import average
from pipeline.runs.work import SHOWN, open_work, place_of, sweep_all

_MENDED = 3
"""Times that damaged work is computed again before the disk is to blame."""


def segment(
    job: Job,
    resources: Resources = Resources(),
    observer: Observer = SILENT,
    *,
    stop: Event | None = None,
    workers: SharedWorkers | None = None,
    source: Source | PlainSource | None = None,
    predictor: Predictor | None = None,
    sink: Sink | None = None,
) -> Report:
    """Segment one input into a mask file with exactly its geometry.

    Unfinished work is in `<output>.partial`; after a crash, the same call resumes from it. An output that was made by
    the same job is skipped.

    Args:
        job: Input, model, output and the options that decide bytes.
        resources: Speed and memory.
        observer: Follows the run, and may stop it.
        stop: An event that stops the run.
        workers: Workers that several runs with the same `resources` share; None: this run starts its own.
        source: An input of your own, in place of the file at `job.input`, which is then its name. It stays open.
        predictor: A network of your own, in place of `job.model`, that also has a `patch`: height and width.
        sink: An output of your own, which is given the labels slab by slab in place of the file `job.output`.

    Returns:
        The result, which is done or skipped.

    What you bring is resumed, and skipped if it is done, only where it has a `version`: `source.info.version`,
    `predictor.version`. It is computed in this process, without workers.

    Raises:
        PipelineError: With the place, both values and a way out.
        PatchError: If the network failed on patches, which are nodata in the output until the same call computes them.
        Interrupted: If `stop` is set, or the observer stops the run.

    """
    run = RunContext(resources, observer if stop is None else Stoppable(observer, stop), workers)
    own = Own.of(source, predictor)
    if sink is None:
        return segment_in(run, job, own)
    from pipeline.runs.into_sink import segment_into  # with torch, which not every call needs

    return segment_into(sink, run, job, own)


def segment_in(run: RunContext, job: Job, own: Own = NOTHING) -> Report:
    """Segment one input in an existing context; `own` is what a program brings itself."""
    run = own.run_of(run)
    if not isinstance(job.output, ObjectPath):
        return _segment_in(run, job, own)
    with at_hand(job.output.begun()) as output, told(output):
        placed = replace(run, observer=Renamed(run.observer, partial(renamed, output)))
        return _segment_in(placed, replace(job, output=output), own)


def _segment_in(run: RunContext, job: Job, own: Own) -> Report:
    began, resources = time.monotonic(), run.resources
    expect_workers([job], resources)
    prepared = prepare(job, resources, own)
    ledger = Ledger(prepared.work)
    if is_done_already(prepared, resources, ledger):
        clear_up(prepared, ledger)
        return _skipped(prepared)
    counter = RepeatCounter(run.observer)
    run = replace(run, observer=counter)
    with prepared.storage.lock() as remark:
        if remark is not None:
            run.observer.note(remark)
        prepared, done = look(prepared, resources, ledger)
        if done:
            remove_leftovers(prepared, ledger)
            return _skipped(prepared)
        domain = _tell(prepared, run, refuse=resources.restart or not ledger.begun)
        tell_damage(prepared, run)
        if ledger.begun:
            remove_stale_temporaries(prepared.output.parent)
        try:
            figures = _run(prepared, run, ledger)
        except OSError as error:
            if isinstance(error, PipelineError):
                raise
            raise OutputError(
                f"{prepared.output}: reading or writing {error.filename or prepared.work} failed "
                f"({error.strerror or error}); the same command continues from what is done"
            ) from error
    report = _report(prepared, "done", None)
    seconds = time.monotonic() - began
    return replace(
        report,
        seconds=seconds,
        seam_index=figures.get(SEAMS),
        disagreement=figures.get(MEAN),
        repeated=counter.share,
        warnings=domain.remarks,
        distance=domain.distance,
    )


def _tell(prepared: PreparedJob, run: RunContext, *, refuse: bool) -> DomainComparison:
    """Note how the input is read and in what it is far from what the model was trained on, and return the latter."""
    found = compare_domain(prepared, refuse=refuse)
    for remark in found.remarks:
        run.observer.note(str(remark))
    if prepared.job.bands is None and prepared.reading.bands is not None:
        run.observer.note(f"bands chosen by name: {', '.join(prepared.channel_descriptions)}")
    if told := prepared.catalog_description:
        run.observer.note(told)
    return found


def _skipped(prepared: PreparedJob) -> Report:
    return _report(prepared, "skipped", "already made by this very job")


def _report(prepared: PreparedJob, status: Literal["done", "skipped"], reason: str | None) -> Report:
    cells = Box.whole(prepared.grid.shape).size
    return Report(prepared.job.name, str(prepared.destination), status, reason, 0.0, cells, prepared.title)


def _run(prepared: PreparedJob, run: RunContext, ledger: Ledger) -> dict[str, float | None]:
    """Make the output, or what is left of it; return what its layers come to."""
    open_work(prepared, ledger, restart=run.resources.restart)
    for _ in range(_MENDED):
        try:
            with _saved(prepared):
                return _make(prepared, run, ledger)
        except DamagedError as error:
            run.observer.note(f"{error}; it is computed again")
            last = error
    raise OutputError(
        f"{prepared.work}: what is written there does not stay as it is ({last}); check the disk, or give an --output "
        "on another one"
    )


def _make(prepared: PreparedJob, run: RunContext, ledger: Ledger) -> dict[str, float | None]:
    """Mend what is damaged in the work folder, do what is left, and publish; return what its layers come to.

    Raises:
        DamagedError: If the work folder is damaged meanwhile.

    """
    prepared, failures = sweep_all(prepared, run, ledger)
    if prepared.averaged:
        if failures:
            raise PatchError(
                f"{_describe_failures(prepared, failures)}; nothing is written; the same command retries them"
            )
        check(view_parts(prepared))
        run.observer.phase("averaging")
        average(prepared, run)
    check([labels_part(prepared)])
    if failures:
        prepared.storage.save()  # of a mask with gaps, it is known what is missing
    else:
        check_observed(prepared)
    run.observer.phase("writing")
    figures = publish(prepared, failures)
    if failures:
        raise PatchError(
            f"{_describe_failures(prepared, failures)}; they are nodata in the mask; the same command retries them"
        )
    prepared.storage.remove_work()
    return figures


def _describe_failures(prepared: PreparedJob, failures: Sequence[Failure]) -> str:
    """Describe which patches failed, and why: the first few."""
    axes = "/".join(prepared.views[0].grid.axes)
    places = ", ".join(f"{axes} {place_of(patch)}" for patch, _ in failures[:SHOWN])
    more = f" and {len(failures) - SHOWN} more" if len(failures) > SHOWN else ""
    why = f"{counted(len(failures), 'patch', 'patches')} ({places}{more}: {failures[0].reason})"
    return f"{prepared.job.name}: the network failed twice on {why}"


@contextmanager
def _saved(prepared: PreparedJob) -> Iterator[None]:
    """Make safe what is done if something goes wrong, or the run is to stop."""
    try:
        yield
    except Exception:
        with suppress(PipelineError):
            prepared.storage.save()
        raise
