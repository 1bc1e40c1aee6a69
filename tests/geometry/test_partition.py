"""How slabs are shared out among workers, and where those run."""

from __future__ import annotations

from itertools import product
from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RequestError
from pipeline.geometry import Blocks, Box, Lattice, covered, cut_slabs
from pipeline.geometry.partition import patches_of, recomputed, split_for_workers
from pipeline.runs.cluster import map_distributed

ROWS = SIDE = 1024


@st.composite
def layouts(draw):
    """A lattice, its slabs, and blocks of it or none."""
    shape = draw(st.integers(1, 20_000)), draw(st.integers(1, 5000))
    patch, overlap = draw(st.integers(48, 600)), draw(st.integers(0, 31))
    lattice = Lattice(shape, (patch, patch), (overlap, overlap), (0, 0))
    blocks = draw(st.none() | st.integers(48, 2000).map(lambda size: Blocks(lattice, (size, size), (64, 64))))
    return lattice, cut_slabs(shape, ROWS), blocks


@given(layouts(), st.integers(1, 40))
def test_each_cell_is_in_one_run_and_patches_are_counted_as_they_are_computed(layout, workers):
    lattice, slabs, blocks = layout
    runs = split_for_workers(lattice, slabs, workers, SIDE, blocks)
    parts = [slab for run in runs for slab in run]
    assert sum(part.size for part in parts) == prod(lattice.shape)
    assert covered(slabs, parts) == set(slabs)
    assert all(start % SIDE == 0 for part in parts for start in part.start)
    assert len(runs) >= min(workers, len(slabs)), "as rows alone would give"
    regions = [Box(run[0].start, run[-1].stop) for run in runs]
    if blocks is None:
        computed = [start for region in regions for start in product(*lattice.touching(region))]
    else:
        rows = [row for region in regions for row in blocks.rows(region)]
        computed = [patch.start for row in rows for block in row for patch in block.ending]
    assert len(computed) == patches_of(lattice, runs, blocks)
    assert recomputed(lattice, runs, blocks) == pytest.approx(len(computed) / len(set(computed)) - 1)
    longest = [patches_of(lattice, [run], blocks) for run in runs]
    assert longest == sorted(longest, reverse=True)


def test_an_input_of_few_rows_is_cut_across():
    lattice = Lattice((1100, 8000), (512, 512), (128, 128), (0, 0))
    runs = split_for_workers(lattice, cut_slabs((1100, 8000), ROWS), 4, SIDE)
    assert len(runs) >= 4
    assert recomputed(lattice, runs) < 0.25


@pytest.mark.parametrize(("workers", "least"), [(1, 0.98), (4, 0.97), (16, 0.94), (64, 0.91), (256, 0.82)])
def test_the_work_of_a_large_input_is_shared_out_evenly_and_little_of_it_is_done_twice(workers, least):
    lattice = Lattice((100_000, 100_000), (512, 512), (128, 128), (0, 0))
    runs = split_for_workers(lattice, cut_slabs((100_000, 100_000), ROWS), workers, SIDE)
    assert len(lattice) / workers / last_end(lattice, runs, workers) > least
    assert len(runs) > 1.9 * workers, "a slow worker leaves a run to others"


def last_end(lattice, runs, workers, blocks=None):
    """When the last run ends, in patches, if each worker takes the next one when it is free."""
    ends = [0] * workers
    for run in runs:
        ends[ends.index(min(ends))] += patches_of(lattice, [run], blocks)
    return max(ends)


def test_workers_that_compute_blocks_as_a_whole_get_runs_that_cut_few_of_them():
    """Blocks of 3 x 3 patches without overlap: at their borders nothing is computed twice."""
    lattice = Lattice((18 * 1024, 18 * 1024), (1024, 1024), (0, 0), (0, 0))
    slabs, blocks = cut_slabs(lattice.shape, ROWS), Blocks(lattice, (3072, 3072), (64, 64))
    assert recomputed(lattice, split_for_workers(lattice, slabs, 9, SIDE, blocks), blocks) == 0
    assert recomputed(lattice, split_for_workers(lattice, slabs, 5, SIDE), blocks) > 0.1


@pytest.mark.parametrize(("side", "least"), [(256, 0.77), (512, 0.77)])
def test_blocks_that_share_halves_of_patches_are_rarely_computed_by_two_workers(side, least):
    lattice = Lattice((100_000, 100_000), (side, side), (side // 2, side // 2), (0, 0))
    blocks = Blocks(lattice, (1024, 1024), (64, 64))
    runs = split_for_workers(lattice, cut_slabs(lattice.shape, ROWS), 64, SIDE, blocks)
    assert len(lattice) / 64 / last_end(lattice, runs, 64, blocks) > least


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
