"""Disks that fail, fill up or are slow, at any moment of a run: the next one ends with the same bytes.

`python -m benchmarks.loops faults` tries them at every moment.
"""

from __future__ import annotations

import errno
import io
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr.storage._local as zarr_disk
from rasterio.errors import RasterioIOError

from pipeline.archive.run import segment_one
from pipeline.files.atomic import remove
from pipeline.io.raster import source as raster_door
from pipeline.jobs.job import Job, Resources
from pipeline.runs.observer import RunContext
from pipeline.runs.segment import segment
from tests.support.inputs import contents, listing, pixels, put_scene, put_volume
from tests.support.loops import loop

pytestmark = pytest.mark.slow

MOMENTS = 3
"""At which each fault is tried, spread over a run."""
PLAIN = Resources(precision="float32", runtime="torch")


@pytest.fixture(scope="module", params=["scene.tif", "scene.zarr", "volume.nii.gz"])
def job(request, models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    if request.param.startswith("scene"):
        path = put_scene(folder / "tall.tif", pixels((2, 1100, 40)))
        return Job(str(path), folder / "out" / request.param, str(models / "scene"))
    scan = put_volume(folder / "scan.nii.gz", pixels((36, 10, 16)).T.astype(np.int16), np.diag([1.0, 1, 2, 1]))
    return Job(str(scan), folder / "out" / request.param, str(models / "volume"), view=("axial", "coronal"))


class Trouble:
    """Calls of a function of the system, of which one is troubled."""

    def __init__(self, at: int | None, happen: Callable[[], Any]) -> None:
        self.calls, self._at, self._happen = 0, at, happen

    def __call__(self) -> None:
        self.calls += 1
        if self.calls - 1 == self._at:
            self._happen()


def failing(code: int) -> Callable[[], Any]:
    def happen() -> None:
        raise OSError(code, os.strerror(code))

    return happen


def before(place: object, name: str, patch: pytest.MonkeyPatch, trouble: Trouble) -> None:
    """Have `trouble` come before each call of a function."""
    function = getattr(place, name)

    def troubled(*words: Any, **more: Any) -> Any:
        trouble()
        return function(*words, **more)

    patch.setattr(place, name, troubled)


class File(io.FileIO):
    """A file of which some reads are troubled, or give less than was asked for."""

    trouble: Trouble
    short = False

    def readinto(self, buffer: Any) -> int | None:
        self.trouble()
        return super().readinto(memoryview(buffer)[:7] if self.short else buffer)


class Dataset:
    """A dataset of GDAL of which some reads are troubled."""

    def __init__(self, dataset: Any, trouble: Trouble) -> None:
        self._dataset, self._trouble = dataset, trouble

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    def read(self, *words: Any, **more: Any) -> Any:
        try:
            self._trouble()
        except OSError as error:
            raise RasterioIOError(str(error)) from error
        return self._dataset.read(*words, **more)


def of_reads(job: Job, patch: pytest.MonkeyPatch, trouble: Trouble, *, short: bool = False) -> None:
    kind = type("Kind", (File,), {"trouble": trouble, "short": short})
    opened, rasters = Path.open, raster_door.open_dataset

    def file(path: Path, mode: str = "r", *words: Any, **more: Any) -> Any:
        ours = str(path) == job.input and mode == "rb"
        return io.BufferedReader(kind(str(path))) if ours else opened(path, mode, *words, **more)

    def dataset(path: str, *words: Any, **more: Any) -> Any:
        found = rasters(path, *words, **more)
        return Dataset(found, trouble) if str(path) == job.input else found

    patch.setattr(Path, "open", file)
    patch.setattr(raster_door, "open_dataset", dataset)


FAULTS: dict[str, tuple[int, Callable[[Job, pytest.MonkeyPatch, Trouble], None]]] = {
    "a disk that fails to keep": (errno.EIO, lambda job, patch, trouble: before(os, "fsync", patch, trouble)),
    "a full disk": (errno.ENOSPC, lambda job, patch, trouble: before(zarr_disk, "_put", patch, trouble)),
    "no room for a mark": (errno.ENOSPC, lambda job, patch, trouble: before(os, "open", patch, trouble)),
    "a rename that fails": (errno.EIO, lambda job, patch, trouble: before(os, "rename", patch, trouble)),
    "a replacement that fails": (errno.EIO, lambda job, patch, trouble: before(os, "replace", patch, trouble)),
    "a read that fails": (errno.EIO, of_reads),
}


def run(job: Job, faults: dict[str, int | None]) -> tuple[Any, dict[str, int]]:
    """The report of a run with these faults, each at a moment or at none, and how often each might have come."""
    with pytest.MonkeyPatch.context() as patch:
        troubles = {fault: Trouble(at, failing(FAULTS[fault][0])) for fault, at in faults.items()}
        for fault, trouble in troubles.items():
            FAULTS[fault][1](job, patch, trouble)
        report = segment_one(job, RunContext(PLAIN))
    return report, {fault: trouble.calls for fault, trouble in troubles.items()}


@pytest.fixture(scope="module")
def moments(job, whole):
    """How often each fault might come in a run."""
    report, calls = run(job, dict.fromkeys(FAULTS))
    assert report.status == "done"
    clear(job)
    return calls


@pytest.fixture(scope="module")
def whole(job):
    """What a run without trouble leaves behind."""
    segment(job, PLAIN)
    found = contents(job.output), listing(job.output.parent)
    clear(job)
    return found


def clear(job: Job) -> None:
    remove(job.output.parent)


@pytest.fixture(autouse=True)
def cleared(whole, job):
    """Nothing of another test is there."""
    clear(job)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_any_moment_is_told_and_the_next_run_ends_with_the_same_bytes(job, whole, moments, fault):
    outcomes, last = [], moments[fault] - 1
    for at in sorted({int(share * last) for share in np.linspace(0, 1, MOMENTS)} if moments[fault] else ()):
        report, _ = run(job, {fault: at})
        outcomes.append(report.status)
        if report.status == "failed":
            assert "--debug" not in report.reason, "foreseen: " + report.reason
            assert report.code in ("output", "system", "unreadable"), report
            assert not job.output.exists() or contents(job.output) == whole[0], "a mask under its name is whole"
            segment(job, PLAIN)
        assert (contents(job.output), listing(job.output.parent)) == whole
        clear(job)
    assert "failed" in outcomes or not moments[fault]


def test_short_and_slow_reads_change_nothing(job, whole):
    for happen, short in ((lambda: None, True), (lambda: time.sleep(0.01), False)):
        with pytest.MonkeyPatch.context() as patch:
            of_reads(job, patch, Trouble(3, happen), short=short)
            assert segment(job, PLAIN).status == "done"
        assert (contents(job.output), listing(job.output.parent)) == whole
        clear(job)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, as on a disk that is full; GDAL and Zarr meet it themselves."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("size", [0, 2000, loop(100), loop(10_000)])
def test_where_files_cannot_grow_a_run_fails_and_the_next_one_goes_on(job, whole, size):
    with room_for(size):
        report = segment_one(job, RunContext(PLAIN))
    if report.status == "failed":
        assert "--debug" not in report.reason, "foreseen: " + report.reason
        assert not job.output.exists()
        assert segment(job, PLAIN).status == "done"
    assert (contents(job.output), listing(job.output.parent)) == whole
    clear(job)
