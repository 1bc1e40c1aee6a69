"""Whether an output is there already, made by the very same job; and what is left of the run that made it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from pipeline.engine.ledger import Ledger
from pipeline.errors import DamagedError, HeldError, OutputError
from pipeline.geometry import Box
from pipeline.jobs.job import Resources
from pipeline.runs.begun import differs, with_begun_features, with_begun_numerics
from pipeline.runs.members import way_back
from pipeline.runs.observer import RunContext
from pipeline.runs.prepared import PreparedJob
from pipeline.runs.publish import FAILED_AT, check_free, difference_from, has_failed_patches
from pipeline.runs.view_sweep import sweeps_of


def is_done_already(prepared: PreparedJob, resources: Resources, ledger: Ledger) -> bool:
    """Look before the lock is held: what another run removes meanwhile, or is damaged, counts as not done."""
    try:
        return prepared.storage.has(prepared.output) and look(prepared, resources, ledger)[1]
    except (FileNotFoundError, DamagedError):
        return False


def look(prepared: PreparedJob, resources: Resources, ledger: Ledger) -> tuple[PreparedJob, bool]:
    """Return the job as the run that was begun has it, and whether it is done."""
    prepared.storage.look()
    if not resources.restart:
        prepared = with_begun_features(prepared, resources, ledger)
        if ledger.begun:
            prepared = with_begun_numerics(prepared, resources, ledger)
    return prepared, _is_done(prepared, resources, ledger)


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


def _has_gaps(prepared: PreparedJob, slabs: Sequence[Box], ledger: Ledger) -> bool:
    """Return whether the run that made an output left patches for this one."""
    if not ledger.begun or differs(prepared, ledger):
        return False
    return len(ledger.done(slabs)) < len(slabs)


def _keep(prepared: PreparedJob) -> str:
    """Return how to go on with an output of another commit of the same model on a hub; else nothing."""
    back = way_back(prepared.storage.provenance(prepared.output) or {}, prepared.job.models)
    return f"give its model{back} to keep it, " if back else ""


def tell_damage(prepared: PreparedJob, run: RunContext) -> None:
    """Tell that a mask which is there is made again because it is damaged."""
    storage, output = prepared.storage, prepared.output
    if storage.has(output) and not run.resources.overwrite and (damage := storage.damage(output)):
        run.observer.note(f"{prepared.output}: is damaged and is made again ({damage})")


def clear_up(prepared: PreparedJob, ledger: Ledger) -> None:
    """Remove the work folder of a run that wrote its output and ended before it could remove it."""
    if prepared.storage.is_left_over():
        with suppress(HeldError), prepared.storage.lock():
            remove_leftovers(prepared, ledger)


def remove_leftovers(prepared: PreparedJob, ledger: Ledger) -> None:
    """Remove what is left of the work of an output that is done, unless it is of another run."""
    prepared.storage.adopt()
    if not (ledger.begun and differs(prepared, ledger)):
        prepared.storage.remove_work()
