"""A damaged mask in the place of an output is told as damaged, and made again where it is the job's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import OutputError
from pipeline.jobs.job import Job, Resources
from pipeline.runs.segment import segment
from tests.support.inputs import contents, pixels, put_scene, put_volume
from tests.support.observers import Callbacks

pytestmark = pytest.mark.slow

PLAIN = Resources(precision="float32", runtime="torch")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def behead(path: Path) -> None:
    path.write_bytes(b"\0" * 99 + path.read_bytes()[99:])


@pytest.fixture(params=["mask.tif", "mask.nii.gz", "mask.zarr"])
def job(request, models, tmp_path):
    if request.param == "mask.nii.gz":
        scan = put_volume(tmp_path / "scan.nii", pixels((40, 30, 36)).T.astype(np.int16), np.eye(4))
        return Job(str(scan), tmp_path / request.param, str(models / "volume"))
    path = put_scene(tmp_path / "scene.tif", pixels((2, 1100, 64)))
    return Job(str(path), tmp_path / request.param, str(models / "scene"))


def test_a_mask_of_the_same_job_that_was_cut_is_made_again(job):
    segment(job, PLAIN)
    expected, notes = contents(job.output), list[str]()
    cut(job.output / "mask/c/1/0" if job.output.is_dir() else job.output)
    assert segment(job, PLAIN, Callbacks(note=notes.append)).status == "done"
    assert contents(job.output) == expected
    assert len(notes) == 1
    assert f"{job.output}: is damaged and is made again (" in notes[0]
    assert segment(job, PLAIN).status == "skipped"


@pytest.mark.parametrize("job", ["mask.tif", "mask.zarr"], indirect=True)
def test_a_mask_whose_header_is_damaged_is_not_called_another(job):
    segment(job, PLAIN)
    behead(job.output / "zarr.json" if job.output.is_dir() else job.output)
    with pytest.raises(OutputError, match=r"already exists, but cannot be read: it is damaged.*--overwrite") as error:
        segment(job, PLAIN)
    assert "something else" not in str(error.value)
    assert segment(job, Resources(precision="float32", runtime="torch", overwrite=True)).status == "done"
