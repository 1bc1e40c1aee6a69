"""How bands are shared out among workers, and where those run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cluster import map_out
from pipeline.errors import RequestError
from pipeline.geometry import Lattice, cut_bands
from pipeline.sharing import MOST, patches_of, recomputed, runs_for

BAND = 1024


@given(st.integers(1, 20_000), st.integers(1, 300), st.integers(48, 600), st.integers(0, 31), st.integers(1, 40))
def test_each_band_is_in_one_run_and_patches_are_counted_as_they_are_computed(rows, columns, patch, overlap, workers):
    lattice = Lattice((rows, columns), (patch, patch), (overlap, overlap), (0, 0))
    bands = cut_bands((rows, columns), BAND)
    runs = runs_for(lattice, bands, workers)
    assert [band for run in runs for band in run] == list(bands)
    assert len(runs) >= min(workers, len(bands))
    computed = [sum(any(p.clip(band).size for band in run) for _, row in lattice.rows() for p in row) for run in runs]
    assert sum(computed) == patches_of(lattice, runs) == round(len(lattice) * (1 + recomputed(lattice, runs)))
    assert len(runs) <= max(workers, 1) or recomputed(lattice, runs) <= MOST


def test_large_inputs_have_runs_to_spare_and_little_is_computed_twice():
    lattice = Lattice((100_000, 30_000), (512, 512), (128, 128), (0, 0))
    bands = cut_bands((100_000, 30_000), BAND)
    assert recomputed(lattice, runs_for(lattice, bands, 1)) <= MOST
    for workers in (1, 2, 4, 8):
        runs = runs_for(lattice, bands, workers)
        assert len(runs) >= (2 * workers if workers < 8 else workers)
        assert recomputed(lattice, runs) <= MOST


SPEC = """
cluster = "distributed:LocalCluster"
workers = 2
[options]
n_workers = 0
threads_per_worker = 1
processes = false
dashboard_address = ""
resources = {GPU = 1}
"""


def test_a_file_describes_a_cluster_and_its_workers_take_one_task_for_each_gpu(tmp_path):
    (tmp_path / "cluster.toml").write_text(SPEC)
    asked, files = [], [tmp_path / f"{number}.done" for number in range(5)]
    map_out(
        Path.touch,
        lambda workers: asked.append(workers) or {f"sweep-{file.name}": file for file in files},
        scheduler=str(tmp_path / "cluster.toml"),
        tick=lambda: None,
    )
    assert asked in ([1], [2])
    assert all(file.exists() for file in files)


@pytest.mark.parametrize(
    "text", ["cluster = 3", 'cluster = "none:None"', 'cluster = "distributed:None"', "x", "[options]\nx = 1"]
)
def test_what_describes_no_cluster_is_refused(tmp_path, text):
    (tmp_path / "cluster.toml").write_text(text)
    with pytest.raises(RequestError, match="does not describe a cluster"):
        map_out(print, lambda _: {}, scheduler=str(tmp_path / "cluster.toml"), tick=lambda: None)


def test_a_scheduler_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RequestError, match=r"none\.json: there is no scheduler file"):
        map_out(print, lambda _: {}, scheduler=str(tmp_path / "none.json"), tick=lambda: None)
