"""Workers of one input: any number of them make the same bytes, and one that dies is replaced."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.jobs.job import Job, Resources
from pipeline.runs.fork_server import METHOD
from pipeline.runs.prepare import prepare
from pipeline.runs.segment import segment
from pipeline.runs.view_sweep import sweeps_of
from tests.support.inputs import pixels, put_scene, put_volume
from tests.support.loops import loop
from tests.support.observers import Callbacks
from tests.support.processes import workers

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["scene", "volume"])
def job(request, models, tmp_path_factory):
    """A job of more slabs than workers."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "scene":
        path = put_scene(folder / "tall.tif", pixels((2, 5200, 60)))
        return Job(str(path), folder / "alone.tif", str(models / "scene"))
    scan = put_volume(folder / "scan.nii.gz", pixels((106, 40, 36)).T.astype(np.int16), np.diag([1.0, 1, 2, 1]))
    return Job(str(scan), folder / "alone.nii.gz", str(models / "volume"))


@pytest.fixture(scope="module")
def expected(job):
    segment(job)
    return sha256(job.output)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("job", ["scene"], indirect=True)
@pytest.mark.parametrize(("count", "method"), [(1, "spawn"), (4, METHOD), loop(2, METHOD)])
def test_any_number_of_workers_makes_the_same_bytes(job, expected, tmp_path, count, method, monkeypatch):
    monkeypatch.setattr("pipeline.runs.cluster.METHOD", method)
    output = tmp_path / job.output.name
    segment(replace(job, output=output), Resources(workers=count))
    assert sha256(output) == expected
    assert not list(tmp_path.glob("*.partial"))


def test_a_worker_that_is_killed_is_replaced_and_changes_nothing(job, expected, tmp_path, caplog):
    """Twice, each time when more is done than before."""
    caplog.set_level(logging.CRITICAL)  # Dask tells of each death, on purpose
    output = tmp_path / job.output.name
    killed: list[int] = []

    def advanced(cells: float) -> None:
        if cells and len(killed) < 2:
            at_work = workers()
            assert at_work
            os.kill(at_work[0].pid, signal.SIGKILL)
            killed.append(at_work[0].pid)

    report = segment(replace(job, output=output), Resources(workers=2), Callbacks(advanced=advanced))
    assert report.status == "done"
    assert len(set(killed)) == 2
    assert sha256(output) == expected
    assert not list(tmp_path.glob("*.partial"))


def test_runs_that_are_cut_across_make_the_same_bytes_and_one_worker_ends_what_many_began(models, tmp_path):
    path = put_scene(tmp_path / "wide.tif", pixels((2, 1030, 3100)))
    job = Job(str(path), tmp_path / "alone.tif", str(models / "scene"), patch=(256, 256), overlap=(16, 16))
    segment(job)
    other = replace(job, output=tmp_path / "many.tif")
    (sweep,) = sweeps_of(prepare(other, Resources()))
    runs = sweep.runs(sweep.slabs(Resources()), 2)
    assert len({run[0].start[-1] for run in runs}) > 1, "nothing is cut across"

    class Enough(Exception):  # noqa: N818
        """Some of it is done."""

    def advanced(cells: float) -> None:
        if cells:
            raise Enough

    with pytest.raises(Enough):
        segment(other, Resources(workers=2), Callbacks(advanced=advanced))
    marks = [mark.name.rpartition("_")[2] for mark in (sweep.folder / "done").iterdir()]
    assert marks
    assert "0-3100" not in marks
    segment(other)
    assert sha256(other.output) == sha256(job.output)
