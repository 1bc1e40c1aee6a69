"""How slabs are shared out among workers, and where those run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RequestError
from pipeline.geometry import Lattice, covered, cut_slabs
from pipeline.geometry.partition import MAX_RECOMPUTED, patches_of, recomputed, split_for_workers
from pipeline.runs.cluster import map_distributed

ROWS = SIDE = 1024


@given(st.integers(1, 20_000), st.integers(1, 5000), st.integers(48, 600), st.integers(0, 31), st.integers(1, 40))
def test_each_cell_is_in_one_run_and_patches_are_counted_as_they_are_computed(rows, columns, patch, overlap, workers):
    lattice = Lattice((rows, columns), (patch, patch), (overlap, overlap), (0, 0))
    slabs = cut_slabs((rows, columns), ROWS)
    runs = split_for_workers(lattice, slabs, workers, SIDE)
    parts = [slab for run in runs for slab in run]
    assert sum(part.size for part in parts) == rows * columns
    assert covered(slabs, parts) == set(slabs)
    assert all(start % SIDE == 0 for part in parts for start in part.start)
    assert len(runs) >= min(workers, len(slabs)), "as rows alone would give"
    computed = [{p.start for _, row in lattice.rows() for p in row if any(p.clip(b).size for b in run)} for run in runs]
    assert sum(map(len, computed)) == patches_of(lattice, runs)
    assert recomputed(lattice, runs) == pytest.approx(patches_of(lattice, runs) / len(set().union(*computed)) - 1)


def test_an_input_of_few_rows_is_cut_across():
    lattice = Lattice((1100, 8000), (512, 512), (128, 128), (0, 0))
    runs = split_for_workers(lattice, cut_slabs((1100, 8000), ROWS), 4, SIDE)
    assert len(runs) == 4
    assert recomputed(lattice, runs) < 0.2


def test_large_inputs_have_runs_to_spare_and_little_is_computed_twice():
    lattice = Lattice((100_000, 100_000), (512, 512), (128, 128), (0, 0))
    slabs = cut_slabs((100_000, 100_000), ROWS)
    for workers in (1, 2, 4, 8, 16, 32):
        runs = split_for_workers(lattice, slabs, workers, SIDE)
        assert len(runs) >= (2 * workers if workers < 16 else workers)
        assert recomputed(lattice, runs) <= MAX_RECOMPUTED
    assert recomputed(lattice, split_for_workers(lattice, slabs, 64, SIDE)) < 0.07


@given(st.data())
def test_bands_are_covered_where_each_of_their_cells_is(data):
    shape = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    pieces = cut_slabs(shape, data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12)))
    done = [piece for piece in pieces if data.draw(st.booleans())]
    cells = np.zeros(shape, bool)
    for piece in done:
        cells[piece.slices] = True
    slabs = cut_slabs(shape, data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12)))
    assert covered(slabs, done) == {slab for slab in slabs if cells[slab.slices].all()}


SPEC = """
cluster = "distributed:LocalCluster"
workers = 2
[options]
n_workers = 0
threads_per_worker = 1
processes = false
dashboard_address = ":0"
resources = {GPU = 1}
"""


def test_a_file_describes_a_cluster_and_its_workers_take_one_task_for_each_gpu(tmp_path):
    (tmp_path / "cluster.toml").write_text(SPEC)
    asked, files = [], [tmp_path / f"{number}.done" for number in range(5)]
    map_distributed(
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
        map_distributed(print, lambda _: {}, scheduler=str(tmp_path / "cluster.toml"), tick=lambda: None)


def test_a_scheduler_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RequestError, match=r"none\.json: no such scheduler file"):
        map_distributed(print, lambda _: {}, scheduler=str(tmp_path / "none.json"), tick=lambda: None)
