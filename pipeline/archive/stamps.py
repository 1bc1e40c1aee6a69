"""What tells inputs and masks from older ones: size and time of a file, size and ETag of an object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from pipeline.errors import OutputError, RequestError
from pipeline.files.object_path import ObjectPath, OutputPath, is_object
from pipeline.io.formats import Input
from pipeline.io.opening import stamp_of
from pipeline.jobs.job import Job
from pipeline.jobs.layers import layer_path, parse_layers
from pipeline.runs.storage import stamp_of_object, stamps_of_objects


class Stamps:
    """What tells inputs and masks of an archive from older ones, by listings as long as those are held."""

    def __init__(self) -> None:
        self._listed: dict[ObjectPath, str | None] = {}

    @contextmanager
    def listed(self, jobs: Sequence[Job]) -> Iterator[None]:
        """Hold what stores tell of inputs and masks in listings: one by one, 100,000 of them would take an hour."""
        masks = {place for job in jobs for place in _objects_of(job)}
        inputs = {place for job in jobs if (place := _object_of(job)) is not None}
        self._listed = stamps_of_objects(masks)
        with suppress(OutputError):  # credentials may be for reading alone: then each is asked for
            self._listed |= stamps_of_objects(inputs)
        try:
            yield
        finally:
            self._listed = {}

    def of_input(self, job: Job, item: Input) -> str | None:
        """Return the stamp of the input of a job."""
        place = _object_of(job)
        return self._listed[place] if place in self._listed else stamp_of(item)

    def of_mask(self, place: ObjectPath) -> str | None:
        """Return the stamp of a mask."""
        return self._listed[place] if place in self._listed else stamp_of_object(place)


def files_of(job: Job, output: OutputPath) -> list[OutputPath]:
    """Return the mask of a job and the layers beside it."""
    return [output, *(layer_path(output, name) for name in parse_layers(job.also) or ())]


def _objects_of(job: Job) -> list[ObjectPath]:
    """Return the mask of a job and the layers beside it, if they are objects."""
    files = files_of(job, job.output) if isinstance(job.output, ObjectPath) else []
    return [place for place in files if isinstance(place, ObjectPath)]


def _object_of(job: Job) -> ObjectPath | None:
    """Return the object that an input is, if it is one."""
    try:
        return ObjectPath.parse(job.input) if is_object(job.input) else None
    except RequestError:  # which GDAL may know
        return None
