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
    CHANGED,
    UNREACHABLE,
    DamagedError,
    HeldError,
    InputError,
    Interrupted,
    OutputError,
    PatchError,
    PipelineError,
    counted,
)
from pipeline.files.atomic import remove_stale_temporaries
from pipeline.files.object_path import ObjectPath
from pipeline.geometry import Box
from pipeline.io.versions import check_unchanged
from pipeline.jobs.job import Job, Resources
from pipeline.runs.allocator import spare_memory
from pipeline.runs.begun import begun_fingerprint, differs, with_begun_features, with_begun_numerics
from pipeline.runs.domain import DomainComparison, compare_domain
from pipeline.runs.fork_server import expect_workers
from pipeline.runs.members import way_back
from pipeline.runs.observer import SILENT, Observer, Renamed, RepeatCounter, RunContext, Stoppable
from pipeline.runs.own import NOTHING, Own
from pipeline.runs.prepare import prepare
from pipeline.runs.prepared import PreparedJob
from pipeline.runs.publish import (
    FAILED_AT,
    MEAN,
    SEAMS,
    check_free,
    check_observed,
    difference_from,
    has_failed_patches,
    publish,
)
from pipeline.runs.report import Report
from pipeline.runs.shared_workers import SharedWorkers
from pipeline.runs.staging import stage_and_count
from pipeline.runs.stoppable import StoppableSource
from pipeline.runs.storage import at_hand, renamed, told
from pipeline.runs.stores import check, labels_part, parts_of, view_parts
from pipeline.runs.view_averaging import average
from pipeline.runs.view_sweep import sweeps_of
from pipeline.runs.work_folder import statistics_of, swept_source

_SHOWN = 5
"""Maximum number of failed patches listed one by one."""
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
    if _is_done_already(prepared, resources, ledger):
        _clear_up(prepared, ledger)
        return _skipped(prepared)
    counter = RepeatCounter(run.observer)
    run = replace(run, observer=counter)
    with prepared.storage.lock() as remark:
        if remark is not None:
            run.observer.note(remark)
        prepared, done = _look(prepared, resources, ledger)
        if done:
            _remove_leftovers(prepared, ledger)
            return _skipped(prepared)
        domain = _tell(prepared, run, refuse=resources.restart or not ledger.begun)
        _tell_damage(prepared, run)
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


def _is_done_already(prepared: PreparedJob, resources: Resources, ledger: Ledger) -> bool:
    """Look before the lock is held: what another run removes meanwhile, or is damaged, counts as not done."""
    try:
        return prepared.storage.has(prepared.output) and _look(prepared, resources, ledger)[1]
    except (FileNotFoundError, DamagedError):
        return False


def _look(prepared: PreparedJob, resources: Resources, ledger: Ledger) -> tuple[PreparedJob, bool]:
    """Return the job as the run that was begun has it, and whether it is done."""
    prepared.storage.look()
    if not resources.restart:
        prepared = with_begun_features(prepared, resources, ledger)
        if ledger.begun:
            prepared = with_begun_numerics(prepared, resources, ledger)
    return prepared, _is_done(prepared, resources, ledger)


def _skipped(prepared: PreparedJob) -> Report:
    return _report(prepared, "skipped", "already made by this very job")


def _report(prepared: PreparedJob, status: Literal["done", "skipped"], reason: str | None) -> Report:
    cells = Box.whole(prepared.grid.shape).size
    return Report(prepared.job.name, str(prepared.destination), status, reason, 0.0, cells, prepared.title)


def _run(prepared: PreparedJob, run: RunContext, ledger: Ledger) -> dict[str, float | None]:
    """Make the output, or what is left of it; return what its layers come to."""
    _open(prepared, ledger, restart=run.resources.restart)
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


def sweep_all(prepared: PreparedJob, run: RunContext, ledger: Ledger) -> tuple[PreparedJob, tuple[Failure, ...]]:
    """Sweep all views into the work folder; return the job with verified numerics, and the patches that failed."""
    from pipeline.runs.execute import sweep_remaining  # Dask takes a second, and what is made already needs none

    spare_memory(prepared.numerics)
    with _remove_if_empty(prepared), _of_one_version(prepared):
        prepared = _begin(prepared, ledger, run.observer)
        failures = sweep_remaining(prepared, run)
        if run.resources.scheduler:
            prepared.storage.gather()
        else:
            prepared.storage.save_at_times()
        return prepared, failures


def _describe_failures(prepared: PreparedJob, failures: Sequence[Failure]) -> str:
    """Describe which patches failed, and why: the first few."""
    axes = "/".join(prepared.views[0].grid.axes)
    places = ", ".join(f"{axes} {_place(patch)}" for patch, _ in failures[:_SHOWN])
    more = f" and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
    why = f"{counted(len(failures), 'patch', 'patches')} ({places}{more}: {failures[0].reason})"
    return f"{prepared.job.name}: the network failed twice on {why}"


def _place(patch: Box) -> str:
    return "/".join(f"{start}:{stop}" for start, stop in zip(patch.start, patch.stop, strict=True))


def _clear_up(prepared: PreparedJob, ledger: Ledger) -> None:
    """Remove the work folder of a run that wrote its output and ended before it could remove it."""
    if prepared.storage.is_left_over():
        with suppress(HeldError), prepared.storage.lock():
            _remove_leftovers(prepared, ledger)


def _remove_leftovers(prepared: PreparedJob, ledger: Ledger) -> None:
    prepared.storage.adopt()
    if not (ledger.begun and differs(prepared, ledger)):
        prepared.storage.remove_work()


def _is_done(prepared: PreparedJob, resources: Resources, ledger: Ledger) -> bool:
    """Return whether the output exists and was made by the same job; refuse to replace any other unless allowed."""
    if resources.overwrite:
        return False
    check_free(prepared)
    storage = prepared.storage
    if not storage.has(prepared.output) or (
        has_failed_patches(prepared) and _has_gaps(prepared, sweeps_of(prepared)[0].slabs(resources), ledger)
    ):
        return False
    damage = storage.damage(prepared.output)
    if differing := difference_from(prepared, prepared.output, but=(FAILED_AT,)):
        how = f"but cannot be read: it is damaged, or no mask ({damage})" if damage else f"made with {differing}"
        raise OutputError(
            f"{prepared.output}: already exists, {how}; {_keep(prepared)}use --overwrite to replace it, or give "
            "another --output"
        )
    layers = [layer.beside(prepared.output) for layer in prepared.layers]
    return not damage and all(storage.has(path) and not storage.damage(path) for path in layers)


def _keep(prepared: PreparedJob) -> str:
    """Return how to go on with an output of another commit of the same model on a hub; else nothing."""
    back = way_back(prepared.storage.provenance(prepared.output) or {}, prepared.job.models)
    return f"give its model{back} to keep it, " if back else ""


def _tell_damage(prepared: PreparedJob, run: RunContext) -> None:
    """Tell that a mask which is there is made again because it is damaged."""
    storage, output = prepared.storage, prepared.output
    if storage.has(output) and not run.resources.overwrite and (damage := storage.damage(output)):
        run.observer.note(f"{prepared.output}: is damaged and is made again ({damage})")


def _has_gaps(prepared: PreparedJob, slabs: Sequence[Box], ledger: Ledger) -> bool:
    """Return whether the run that made an output left patches for this one."""
    if not ledger.begun or differs(prepared, ledger):
        return False
    return len(ledger.done(slabs)) < len(slabs)


def _open(prepared: PreparedJob, ledger: Ledger, *, restart: bool) -> None:
    """Open the work folder as this run left it, or empty it; refuse that of another run."""
    if ledger.begun and not restart:
        begun = begun_fingerprint(prepared, ledger)
        ledger.begin(begun)  # written again, as its file may be damaged
        ledger.check(prepared.fingerprint(), way_back(begun, prepared.job.models))
        return
    try:
        prepared.storage.clear_work()
    except OSError as error:
        raise OutputError(f"{prepared.work}: cannot be emptied ({error.strerror}); give another --output") from error


@contextmanager
def _saved(prepared: PreparedJob) -> Iterator[None]:
    """Make safe what is done if something goes wrong, or the run is to stop."""
    try:
        yield
    except Exception:
        with suppress(PipelineError):
            prepared.storage.save()
        raise


@contextmanager
def _of_one_version(prepared: PreparedJob) -> Iterator[None]:
    """Check that the input did not change while it was read, whether that went well or not; if it did, nothing stays.

    Raises:
        InputError: If it changed, or if that cannot be told.

    """
    try:
        yield
    except InputError as error:
        if error.code != UNREACHABLE:
            _check_version(prepared)
        raise
    _check_version(prepared)


def _check_version(prepared: PreparedJob) -> None:
    try:
        check_unchanged(prepared.input, prepared.began_with, prepared.version, prepared.job.series)
    except InputError as error:
        if error.code == CHANGED:
            prepared.storage.remove_work()
        raise


@contextmanager
def _remove_if_empty(prepared: PreparedJob) -> Iterator[None]:
    """Remove the work folder if something goes wrong before any slab is done."""
    try:
        yield
    except (Interrupted, DamagedError):
        raise
    except Exception:
        if not any(_is_any_done(prepared, Ledger(sweep.folder)) for sweep in sweeps_of(prepared)):
            prepared.storage.remove_work()
        raise


def _is_any_done(prepared: PreparedJob, ledger: Ledger) -> bool:
    """Return whether any slab is done, also by workers elsewhere."""
    prepared.storage.gather(ledger.marks)
    return ledger.any_done


def _begin(prepared: PreparedJob, ledger: Ledger, observer: Observer) -> PreparedJob:
    """Create what the sweep needs in the work folder, the ledger last; return the job with verified numerics.

    If there is a ledger, what is damaged is created again instead.
    """
    from pipeline.runs.warm_up import verify_numerics

    if ledger.begun:
        prepared.storage.gather()
    stage_and_count(prepared, observer)
    if ledger.begun:
        _mend(prepared, observer)
        return prepared
    first, *_ = sweeps_of(prepared)
    source = StoppableSource(swept_source(first), observer)
    try:
        prepared = replace(prepared, numerics=verify_numerics(first, source, statistics_of(prepared), observer))
    finally:
        source.close()
    for part in parts_of(prepared):
        part.create()
    ledger.begin(prepared.fingerprint())
    return prepared


def _mend(prepared: PreparedJob, observer: Observer) -> None:
    """Take away the marks of slabs whose chunks are damaged, so that they are computed again, and tell so."""
    for part in parts_of(prepared):
        if damaged := part.mend():
            places = ", ".join(map(_place, damaged[:_SHOWN])) + (", ..." if len(damaged) > _SHOWN else "")
            observer.note(
                f"{part.stores[0]}: finished slabs are not as they were written and are computed again: "
                f"{len(damaged)} ({places})"
            )
