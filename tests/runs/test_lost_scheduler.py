"""A cluster that ends during a run, or that no worker has joined, is told as such."""

from __future__ import annotations

import logging
import time

import pytest
from distributed import LocalCluster

from pipeline.errors import PipelineError
from pipeline.jobs.job import Job, Resources
from pipeline.runs import cluster as room
from pipeline.runs.cluster import map_distributed
from pipeline.runs.segment import segment
from tests.support.inputs import pixels, put_scene
from tests.support.observers import Callbacks
from tests.support.ports import NO_DASHBOARD

pytestmark = pytest.mark.slow


def test_a_scheduler_that_ends_is_told_with_the_way_out(caplog):
    caplog.set_level(logging.CRITICAL)  # Dask tells of its end in many lines, on purpose
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, **NO_DASHBOARD) as cluster:
        address = cluster.scheduler_address
        with pytest.raises(PipelineError, match=rf"scheduler {address} ended.*run the same command again"):
            map_distributed(
                time.sleep, lambda _: {f"task {n}": 0.5 for n in range(3)}, scheduler=address, tick=cluster.close
            )


def test_a_run_without_workers_says_that_it_waits_and_goes_on_once_one_has_joined(models, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_PATIENCE", 0.5)
    scene, said = put_scene(tmp_path / "a.tif", pixels((2, 40, 30))), []
    with LocalCluster(n_workers=0, threads_per_worker=1, processes=False, **NO_DASHBOARD) as cluster:

        def note(line):
            said.append(line)
            cluster.scale(1)

        job = Job(str(scene), tmp_path / "mask.tif", str(models / "scene"))
        segment(job, Resources(scheduler=cluster.scheduler_address), Callbacks(note=note))
        waited = f"no worker has joined the Dask cluster {cluster.scheduler_address} yet; waiting for one"
    assert [line for line in said if line.startswith(waited)] == said[:1]
    assert (tmp_path / "mask.tif").exists()
