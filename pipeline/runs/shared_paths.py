"""Paths of a job that workers with another working folder, or on another machine, find too."""

from __future__ import annotations

import glob
import os
import socket
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pipeline.errors import RequestError
from pipeline.files.object_path import OutputPath, is_object
from pipeline.io.address import with_paths
from pipeline.io.formats import look
from pipeline.models.catalogue import names
from pipeline.models.hub.address import is_on_hub
from pipeline.runs.prepared import PreparedJob


def with_absolute_paths(prepared: PreparedJob) -> PreparedJob:
    """Return the job with the absolute paths of its input, model and output."""
    job = prepared.job
    members = tuple(
        member if _is_known_everywhere(member.model) else replace(member, model=_absolute(member.model))
        for member in prepared.members
    )
    absolute = replace(job, input=with_paths(job.input, _absolute), output=_destination(prepared))
    text = with_paths(prepared.input.text, _absolute)
    item = prepared.input if prepared.input.remote else look(text)
    return replace(prepared, job=absolute, members=members, input=item)


def _is_known_everywhere(model: str) -> bool:
    """Return whether a model is packaged, on a hub or an object, and no folder of this machine."""
    return model in names() or is_on_hub(model) or is_object(model)


def _destination(prepared: PreparedJob) -> OutputPath:
    place = prepared.destination
    return Path(_absolute(place)) if isinstance(place, Path) else place


def needed_paths(prepared: PreparedJob) -> tuple[Path, ...]:
    """Return what a worker must see of a job and is here: work folder, model, and the input unless it is staged."""
    models = (Path(member.model) for member in prepared.members)
    work = (prepared.work,) if isinstance(prepared.destination, Path) else ()
    inputs = () if prepared.staged else (prepared.input.path,)
    there = (*work, *inputs, *models)
    return tuple(path for path in there if path.is_absolute() and path.exists())


def check_seen(paths: Iterable[Path]) -> None:
    """Check that this worker sees what the machine that began the run sees.

    Raises:
        RequestError: With the path and the machine.

    """
    for path in paths:
        if not path.exists():
            raise RequestError(
                f"{path}: is not there on the worker {socket.gethostname()} (process {os.getpid()}); every worker must "
                "see the folders of input, model and output under the same paths, e.g. on a shared disk"
            )


def _absolute(path: str | Path) -> str:
    """An absolute path of a file, folder or pattern; other names, such as those of GDAL's subdatasets, as they are."""
    text = str(path)
    known = isinstance(path, Path) or Path(text).exists() or glob.has_magic(text)
    return str(Path(text).absolute()) if known else text
