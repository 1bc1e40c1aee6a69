"""A worker with other versions is refused before it computes anything, and both are named."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
from distributed import LocalCluster

from pipeline.errors import RequestError
from pipeline.runs.cluster import map_distributed
from pipeline.runs.versions import check_versions, versions_here
from tests.support.ports import NO_DASHBOARD


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ({}, None),
        ({"llvmlite": "0.0"}, "llvmlite"),
        ({"torch": "0.0"}, r"torch \S+ \(here 0\.0\)"),
        ({"pipeline": "9.9", "isal": "1.0"}, r"pipeline \S+ \(here 9\.9\), isal \S+ \(here 1\.0\)"),
    ],
)
def test_versions_that_differ_are_named(theirs, said):
    told = {**versions_here(), **theirs}
    if said is None or (said == "llvmlite" and "llvmlite" not in versions_here()):
        check_versions(told)
        return
    with pytest.raises(RequestError, match=said):
        check_versions(told)


def test_builds_of_one_version_are_the_same():
    assert "+" not in versions_here()["torch"]


@contextmanager
def worker(address, tmp_path, **versions):
    """A worker in whose environment these versions are installed."""
    for name, number in versions.items():
        folder = tmp_path / f"{name}-{number}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    words = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "1"]
    running = subprocess.Popen(
        [*words, "--no-dashboard", "--local-directory", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths},
        cwd=tmp_path,  # not where another version may lie
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        running.terminate()
        running.wait()


@pytest.mark.slow
def test_a_worker_with_other_versions_is_refused(tmp_path):
    """It is not given the task: its file would be there."""
    made = tmp_path / "made"
    with (
        LocalCluster(n_workers=0, silence_logs=50, **NO_DASHBOARD) as cluster,
        worker(cluster.scheduler_address, tmp_path, torch="2.0.1", pipeline="0.0.9"),
        pytest.raises(RequestError) as refused,
    ):
        map_distributed(touch, lambda _: {"t": made}, scheduler=cluster.scheduler_address, tick=lambda: None)
    said, here = str(refused.value), versions_here()
    assert f"pipeline 0.0.9 (here {here['pipeline']}), torch 2.0.1 (here {here['torch']})" in said
    assert "install the same versions on all machines" in said
    assert not made.exists()


def touch(path):
    path.touch()
