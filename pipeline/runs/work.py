"""The work of a run: its folder opened or begun, what is damaged there mended, and what is left swept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from pipeline.engine import Failure
from pipeline.engine.ledger import Ledger
from pipeline.errors import CHANGED, UNREACHABLE, DamagedError, InputError, Interrupted, OutputError
from pipeline.geometry import Box
from pipeline.io.versions import check_unchanged
from pipeline.runs.allocator import spare_memory
from pipeline.runs.begun import begun_fingerprint
from pipeline.runs.members import way_back
from pipeline.runs.observer import Observer, RunContext
from pipeline.runs.prepared import PreparedJob
from pipeline.runs.staging import stage_and_count
from pipeline.runs.stoppable import StoppableSource
from pipeline.runs.stores import parts_of
from pipeline.runs.view_sweep import sweeps_of
from pipeline.runs.work_folder import statistics_of, swept_source

SHOWN = 5
"""Maximum number of patches and slabs listed one by one."""


def open_work(prepared: PreparedJob, ledger: Ledger, *, restart: bool) -> None:
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


def sweep_all(prepared: PreparedJob, run: RunContext, ledger: Ledger) -> tuple[PreparedJob, tuple[Failure, ...]]:
    """Sweep all views into the work folder; return the job with verified numerics, and the patches that failed."""
    from pipeline.runs.execute import sweep_remaining  # Dask takes a second, and what is made already needs none

    spare_memory(prepared.numerics)
    with _remove_if_empty(prepared), _of_one_version(prepared):
        prepared = begin_work(prepared, ledger, run.observer)
        failures = sweep_remaining(prepared, run)
        if run.resources.scheduler:
            prepared.storage.gather()
        else:
            prepared.storage.save_at_times()
        return prepared, failures


def begin_work(prepared: PreparedJob, ledger: Ledger, observer: Observer) -> PreparedJob:
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
    """Unmark slabs whose chunks are damaged, with a note, so that they are computed again."""
    for part in parts_of(prepared):
        if damaged := part.mend():
            places = ", ".join(map(place_of, damaged[:SHOWN])) + (", ..." if len(damaged) > SHOWN else "")
            observer.note(
                f"{part.stores[0]}: finished slabs are not as they were written and are computed again: "
                f"{len(damaged)} ({places})"
            )


def place_of(patch: Box) -> str:
    """Return where a patch or slab is, as ranges of cells."""
    return "/".join(f"{start}:{stop}" for start, stop in zip(patch.start, patch.stop, strict=True))


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
