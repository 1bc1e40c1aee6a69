"""What is known of the run that was begun in a work folder, and the job as that run has it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from pipeline.engine.ledger import Fingerprint, Ledger, differences
from pipeline.errors import DamagedError, RequestError
from pipeline.io.zarr import WorkSource
from pipeline.jobs.job import Resources
from pipeline.models.card import Features
from pipeline.runs.prepare import numerics_for, prepare
from pipeline.runs.prepared import PreparedJob
from pipeline.runs.work_folder import MASK


def begun_fingerprint(prepared: PreparedJob, ledger: Ledger) -> Fingerprint:
    """Return the fingerprint of the run that was begun; if its file is damaged, the copy in the store of labels.

    Raises:
        DamagedError: If both are damaged, or gone.

    """
    try:
        return ledger.fingerprint
    except DamagedError as error:
        with suppress(DamagedError):
            if provenance := WorkSource(prepared.work / MASK).provenance:
                return provenance
        raise DamagedError(
            f"{error}, so it is not known which run the finished part in {prepared.work} is of; start over with "
            "--restart"
        ) from error


def differs(prepared: PreparedJob, ledger: Ledger) -> bool:
    """Return whether the run that was begun is another one, as far as that is known."""
    try:
        return bool(differences(begun_fingerprint(prepared, ledger), prepared.fingerprint()))
    except DamagedError:
        return True


def with_begun_features(prepared: PreparedJob, resources: Resources, ledger: Ledger) -> PreparedJob:
    """Return the job with features as in the run that was begun, or made the output, unless the user requests others.

    The default of a model may have changed since.
    """
    begun = begun_fingerprint(prepared, ledger) if ledger.begun else None
    if begun is None and not resources.overwrite:
        begun = prepared.storage.provenance(prepared.output)
    features: Features = "patch" if begun is None or "features" not in begun else "shared"
    if begun is None or prepared.job.features is not None or features == prepared.views[0].features:
        return prepared
    try:
        return prepare(replace(prepared.job, features=features), resources, prepared.own)
    except RequestError:  # this job cannot have them, so what was begun is of another one
        return prepared


def with_begun_numerics(prepared: PreparedJob, resources: Resources, ledger: Ledger) -> PreparedJob:
    """Return the job in the numerics of the run that was begun, unless the user requests others."""
    fingerprint = begun_fingerprint(prepared, ledger)
    begun = {name: fingerprint.get(name) for name in ("precision", "runtime")}
    asked = {"precision": resources.precision, "runtime": resources.runtime}
    now = {"precision": prepared.numerics.precision, "runtime": prepared.numerics.runtime}
    fused = bool(fingerprint.get("fused"))
    same = begun == now and fused == prepared.numerics.fused
    if same or any(asked[name] not in (None, begun[name]) for name in begun):
        return prepared
    resources = replace(resources, precision=begun["precision"], runtime=begun["runtime"])
    cards = [member.card for member in prepared.members]
    numerics = numerics_for(cards, prepared.views, prepared.augmentation, resources)
    return replace(prepared, numerics=replace(numerics, fused=fused))
