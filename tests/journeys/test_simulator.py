"""What the simulator of `benchmarks` must say whatever the costs are."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.simulator.costs import Costs
from benchmarks.simulator.replay import Scene, Storage, compare, simulate
from pipeline.geometry.partition import patches_of

SIDES = st.integers(1, 9000)
WORKERS = st.integers(1, 300)
STRIPS = st.none() | st.integers(1, 4).map(lambda chunks: 1024 * chunks)
BANDWIDTHS = st.floats(0.01, 1000) | st.just(float("inf"))
STORAGES = st.builds(Storage, BANDWIDTHS, BANDWIDTHS)
UNBOUNDED = Storage(float("inf"), float("inf"))

NOUGHT = {field.name: 0.0 for field in fields(Costs) if field.name.endswith(("_s", "_mb"))}
FREE = Costs("none", "none", patch=512, overlap=128, block=512, slab=512, band=1024, **NOUGHT)
COSTS = st.fixed_dictionaries({**dict.fromkeys(NOUGHT, st.floats(0, 10)), "patch_s": st.floats(0.001, 10)})


@given(COSTS, SIDES, STRIPS, STORAGES, WORKERS)
def test_no_number_of_workers_is_faster_than_so_many_times_one(costs, side, strip, storage, workers):
    alone, [many] = compare(replace(FREE, **costs), side, storage, [workers], strip)
    assert alone.wall_s <= many.wall_s * workers * (1 + 1e-9)
    assert all(0 <= share <= 1 + 1e-9 for share in (many.network, many.reading, many.writing, many.publish))


@given(SIDES, STRIPS, WORKERS)
def test_a_costly_network_alone_is_shared_out_but_for_what_is_computed_twice_and_the_last_run(side, strip, workers):
    scene = Scene.of(FREE, side, strip)
    runs = scene.runs(workers)
    outcome = simulate(replace(FREE, patch_s=1), scene, UNBOUNDED, workers, runs)
    even = len(scene.lattice) * (1 + outcome.recomputed) / workers
    longest = max(patches_of(scene.lattice, [run]) for run in runs)
    assert max(even, longest) <= outcome.wall_s + 1e-6 <= even + longest + 2e-6
    assert (outcome.busiest, outcome.network) == ("network", pytest.approx(1))


@given(SIDES, WORKERS)
def test_a_slow_storage_takes_as_long_as_its_bytes_do_for_any_number_of_workers(side, workers):
    scene, slow = Scene.of(FREE, side), Storage(0.01, float("inf"))
    runs = scene.runs(workers)
    outcome = simulate(replace(FREE, patch_s=1e-4, read_mb=3), scene, slow, workers, runs)
    bytes_s = scene.mpx * 3 / slow.read_mbps
    again = len(runs) * 2 * (FREE.patch + FREE.block) / side
    assert bytes_s <= outcome.wall_s * (1 + 1e-9) <= bytes_s * (1 + again) + 1
    assert outcome.busiest == "reading"
