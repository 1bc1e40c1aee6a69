"""A run that is killed at any moment, again and again, ends with the bytes of one that was left alone.

`python -m benchmarks.loops kills` kills hundreds of times, and `benchmarks/kills.py` the command and its workers.
"""

from __future__ import annotations

import shutil
import time

import numpy as np
import pytest

from pipeline.jobs.job import Job, Resources
from pipeline.runs.segment import segment
from tests.support.inputs import contents, listing, pixels, put_scene, put_volume
from tests.support.processes import warm

pytestmark = pytest.mark.kill

KILLS = 3
"""Of each kind of run."""


def segment_here(job: Job) -> None:
    """What the process that is killed does."""
    import torch

    torch.set_num_threads(1)
    segment(job, Resources(precision="float32", runtime="torch"))


@pytest.fixture(params=["scene.tif", "scene.zarr", "volume.nii.gz"])
def job(request, models, tmp_path):
    (tmp_path / "in").mkdir()
    if request.param.startswith("scene"):
        path = put_scene(tmp_path / "in/tall.tif", pixels((2, 2200, 40)))
        return Job(str(path), tmp_path / "out" / request.param, str(models / "scene"))
    scan = put_volume(tmp_path / "in/scan.nii.gz", pixels((36, 10, 16)).T.astype(np.int16), np.diag([1.0, 1, 2, 1]))
    return Job(str(scan), tmp_path / "out" / request.param, str(models / "volume"), view=("axial", "coronal"))


def test_killed_at_any_moment_it_ends_with_the_same_bytes(job):
    began = time.monotonic()
    whole = run(job, None)
    assert whole == 0
    longest = time.monotonic() - began
    expected, names = contents(job.output), listing(job.output.parent)
    rng, kills = np.random.default_rng(0), 0
    while kills < KILLS:
        shutil.rmtree(job.output.parent)
        while (code := run(job, rng.uniform(0, 1.2 * longest))) is None:
            kills += 1
        assert code == 0
        assert contents(job.output) == expected
        assert listing(job.output.parent) == names, "nothing else stays"


def run(job, seconds):
    """Exit code of a process that segments `job`; None if it was killed after so many seconds."""
    process = warm().Process(target=segment_here, args=(job,))
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        return None
    return process.exitcode
