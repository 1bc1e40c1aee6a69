"""Models that workers fetch from the object store of an output: by what is in them, and once for each worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from pipeline.errors import ModelError
from pipeline.files.atomic import atomic_folder
from pipeline.files.object_path import ObjectPath, is_object
from pipeline.files.scratch import scratch
from pipeline.models.catalogue import CARD, INT8_GRAPH, INT8_WEIGHTS, MODEL, find_model, names
from pipeline.runs.members import Member
from pipeline.runs.prepared import PreparedJob
from pipeline.runs.storage import fetch_object, send_object, stamp_of_object

_HOME = ".models"
"""Prefix beside the outputs; what is in it may be deleted when no run is on."""
_NAMES = (MODEL, INT8_GRAPH, INT8_WEIGHTS, CARD)
"""Files of a model, the one last that says that all are there."""


def with_sent_models(prepared: PreparedJob) -> PreparedJob:
    """Return the job of a worker elsewhere, with models of this machine in the object store of the output.

    Packaged models are everywhere. With an output on a disk, so are those on that disk.
    """
    place = prepared.destination
    if isinstance(place, Path):
        return prepared
    return replace(prepared, members=tuple(_sent(member, place.parent / _HOME) for member in prepared.members))


def with_fetched_models(prepared: PreparedJob) -> PreparedJob:
    """Return the job with its models on this machine, fetched unless they are there from an earlier task.

    Raises:
        ModelError: If one is gone from the store.

    """
    return replace(prepared, members=tuple(map(_fetched, prepared.members)))


def _sent(member: Member, home: ObjectPath) -> Member:
    if member.model in names():
        return member
    files = dict(_files(member.model))
    digest = sha256(files[CARD].read_bytes() + str(member.card.weights_sha256).encode()).hexdigest()
    folder = home / digest
    if stamp_of_object(folder / CARD) is None:
        for name in filter(files.get, _NAMES):
            send_object(files[name], folder / name)
    return replace(member, model=f"{folder}")


def _files(model: str) -> Iterator[tuple[str, Path]]:
    found = find_model(model)
    yield from ((CARD, found.card), (MODEL, found.weights))
    for name in (INT8_GRAPH, INT8_WEIGHTS):
        if (beside := found.card.with_name(name)).is_file():
            yield name, beside


def _fetched(member: Member) -> Member:
    if not is_object(member.model):
        return member
    folder = ObjectPath.parse(member.model)
    here = scratch() / "models" / folder.name
    if not here.exists():
        with suppress(FileExistsError), atomic_folder(here) as draft:
            for name in _NAMES:
                fetch_object(folder / name, draft / name)
    if not (here / CARD).exists():
        raise ModelError(f"{folder}: the model {member.card.name} is not there any more; run the same command again")
    return replace(member, model=str(here))
