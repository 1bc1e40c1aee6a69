"""A cluster that ends during a run is told as such."""

from __future__ import annotations

import logging
import time

import pytest
from distributed import LocalCluster

from pipeline.errors import PipelineError
from pipeline.runs.cluster import map_distributed

pytestmark = pytest.mark.slow


def test_a_scheduler_that_ends_is_told_with_the_way_out(caplog):
    caplog.set_level(logging.CRITICAL)  # Dask tells of its end in many lines, on purpose
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        with pytest.raises(PipelineError, match=rf"scheduler {address} ended.*run the same command again"):
            map_distributed(
                time.sleep, lambda _: {f"task {n}": 0.5 for n in range(3)}, scheduler=address, tick=cluster.close
            )
