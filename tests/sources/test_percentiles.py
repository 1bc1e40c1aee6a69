"""The stretch of a scene: percentiles of all of it, taken once and stored, whatever is looked at in the end."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import dataclass, replace
from threading import Event

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import Resampling

from pipeline.engine import Pixels
from pipeline.errors import Interrupted, RequestError
from pipeline.geometry import Box
from pipeline.io.raster import RasterSource
from pipeline.jobs.job import Job, Resources
from pipeline.models.card import Normalization
from pipeline.models.inference.fit import Scaling
from pipeline.models.store import save_model
from pipeline.runs.plan import plan
from pipeline.runs.segment import segment
from pipeline.runs.work_folder import STATISTICS
from pipeline.sources import percentiles as room
from pipeline.sources.calibrated import CalibratedSource, Calibration
from pipeline.sources.passes import slabs
from pipeline.sources.percentiles import stretch, to_gray
from pipeline.sources.statistics import InputStatistics
from pipeline.training.config import Data
from pipeline.training.dataset_statistics import collect_statistics, normalization_of, scaling_of
from pipeline.training.items import Item
from tests.support.fakes import ArraySource, grid_of
from tests.support.inputs import SCENE_CARD, contents, labels_of, pixels, undecided
from tests.support.model_cases import network_of
from tests.support.observers import Callbacks
from tests.support.rasters import put
from tests.support.trainings import SCENES, truth

RULE = Normalization("percentile", (0.5, 0.4), (0.25, 0.2), (2.0, 5.0), (98.0, 90.0))


def ends(planes, valid, low=RULE.low, high=RULE.high):
    return np.array(
        [np.percentile(p[valid & np.isfinite(p)], pair) for p, *pair in zip(planes, low, high, strict=True)]
    )


def found_ends(source, low=RULE.low, high=RULE.high):
    own = stretch(source, low, high)
    return np.stack([own.offset, np.add(own.offset, own.scale)], 1)


def noise(shape, dtype=np.float32, seed=0):
    """Skewed values, that lie otherwise in each part of the scene."""
    rng = np.random.default_rng(seed)
    ramp = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) / sum(shape)
    return (rng.gamma(2, 300, (2, *shape)) + 2000 * ramp).astype(dtype)


@pytest.fixture(scope="module")
def stretched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "stretched"
    save_model(folder, replace(SCENE_CARD, normalization=RULE), undecided(network_of(SCENE_CARD.network)))
    return str(folder)


@given(
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    block=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32"]),
    seed=st.integers(0, 9),
)
def test_of_a_small_scene_it_is_that_of_numpy(shape, block, dtype, seed):
    values, valid = noise(shape, dtype, seed), np.random.default_rng(seed).random(shape) > 0.3
    if dtype == "float32":
        values[0, ::3, ::2] = np.nan
    valid[-1, -1] = True
    values[:, -1, -1] = 7
    found = found_ends(ArraySource(values, valid, block))
    np.testing.assert_allclose(found, ends(values, valid), rtol=1e-6)


@given(
    shape=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    block=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    cells=st.integers(1, 400),
)
def test_of_a_large_one_every_nth_cell_is_looked_at_once(shape, block, cells):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "MAX_CELLS", cells)
        patch.setattr(room, "_READ", 300)
        source = ArraySource(noise(shape), None, block)
        found = found_ends(source)
    step = int(np.ceil(np.sqrt(shape[0] * shape[1] / cells)))
    thin = source.values[:, ::step, ::step]
    assert thin[0].size <= cells + sum(thin.shape) + 1
    np.testing.assert_allclose(found, ends(thin, np.ones(thin.shape[1:], bool)), rtol=1e-6)
    counted = np.zeros(shape, int)
    for box in source.reads:
        counted[box.slices] += 1
    assert counted.max() <= 1


def test_nothing_observed_and_one_value_are_no_division_by_zero():
    nothing = ArraySource(noise((9, 9)), np.zeros((9, 9), bool), (3, 3))
    assert stretch(nothing, RULE.low, RULE.high) == InputStatistics((0.0, 0.0), (0.0, 0.0))
    flat = np.full((2, 9, 9), 5.0, np.float32)
    own = stretch(ArraySource(flat, None, (3, 3)), RULE.low, RULE.high)
    assert own == InputStatistics((5.0, 5.0), (0.0, 0.0))
    assert np.isfinite(Scaling.by(RULE, own)(flat[None], None)).all()


@dataclass
class Endless:
    """Rows that are made when they are read."""

    rows: int
    channels, dtype, block = 2, np.dtype(np.uint16), (256, 256)

    @property
    def grid(self):
        return grid_of((self.rows, 1000))

    def read(self, box):
        rows, columns = (np.arange(a, b, dtype=np.uint32) for a, b in zip(box.start, box.stop, strict=True))
        mixed = np.add.outer(rows * 7919, columns * 104729) % 9973
        return Pixels(np.stack([mixed, mixed // 2]).astype(np.uint16), None)


def test_its_memory_is_bounded_and_thinning_changes_little():
    peaks, found = [], []
    for rows in (8_000, 32_000):
        tracemalloc.start()
        found.append(found_ends(Endless(rows)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.05 * peaks[0]
    np.testing.assert_allclose(found[1], found[0], rtol=0.02)
    np.testing.assert_allclose(found[0][0], (0.02 * 9973, 0.98 * 9973), rtol=0.02)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A scene with a hole, and the same with overviews."""
    values = np.maximum(noise((2300, 2100), np.uint16), 1)
    values[:, 200:900, 300:1500] = 0
    folder = tmp_path_factory.mktemp("large")
    plain, seen = (put(folder / f"{name}.tif", values, tiled=True, nodata=0) for name in ("plain", "overviews"))
    with rasterio.open(seen, "r+") as dataset:
        dataset.build_overviews([2, 4, 8], Resampling.nearest)
    return plain, seen, values


def test_an_overview_is_looked_at_where_there_is_one(large, monkeypatch):
    plain, seen, values = large
    exact = ends(values, (values > 0).any(0))
    for path in (plain, seen):
        np.testing.assert_allclose(found_ends(RasterSource(path)), exact, rtol=0.02)
    overview = RasterSource(seen).overview(1 << 18)
    assert overview.grid.shape == (1150, 1050)
    np.testing.assert_array_equal(overview.read(Box((0, 0), (50, 40))).values, values[:, :100:2, :80:2])
    assert RasterSource(seen).overview(1 << 22) is None
    assert RasterSource(plain).overview(1) is None
    reads = []
    monkeypatch.setattr(
        RasterSource, "read", lambda self, box, read=RasterSource.read: reads.append(box) or read(self, box)
    )
    found_ends(RasterSource(seen))
    assert sum(box.size for box in reads) == 1150 * 1050


def test_physical_values_are_stretched_alike(large):
    _, seen, _ = large
    calibration = Calibration((0.5, 2.0), (10.0, -3.0))
    found = found_ends(CalibratedSource(RasterSource(seen), calibration))
    plain = found_ends(RasterSource(seen)) * np.array([[0.5], [2.0]]) + np.array([[10.0], [-3.0]])
    np.testing.assert_allclose(found, plain, rtol=1e-5)


def test_alpha_counts_in_overviews_too(tmp_path):
    values = np.full((4, 400, 400), 255, np.uint8)
    values[:3] = noise((400, 400))[:1] / 20
    values[:, :200] = [[[9]], [[9]], [[9]], [[0]]]
    path = put(tmp_path / "a.tif", values, photometric="RGB", alpha="yes", tiled=True)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2], Resampling.nearest)
    overview, low, high = RasterSource(path).overview(100), (2.0,) * 3, (98.0,) * 3
    assert overview.grid.shape == (200, 200)
    expected = ends(values[:3, ::2, ::2], values[3, ::2, ::2] > 0, low, high)
    np.testing.assert_allclose(found_ends(overview, low, high), expected, rtol=1e-6)


def test_overviews_of_a_file_with_a_mask_are_left_alone(tmp_path):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = put(tmp_path / "a.tif", noise((600, 600), np.uint16))
        with rasterio.open(path, "r+") as dataset:
            dataset.write_mask(np.arange(600 * 600).reshape(600, 600) % 3 > 0)
            dataset.build_overviews([2], Resampling.nearest)
    assert RasterSource(path).overview(4) is None


@given(values=st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=30))
def test_percentiles_become_0_and_1_and_then_the_cards_own_units(values):
    own = InputStatistics((-50.0, 3.0), (200.0, 0.5))
    planes = np.array(values, np.float32)[None, None, None].repeat(2, 1)
    unit = np.stack(
        [((planes[0, c] - a) / b).clip(0, 1) for c, (a, b) in enumerate(zip(own.offset, own.scale, strict=True))]
    )
    expected = (unit - np.reshape(RULE.mean, (2, 1, 1))) / np.reshape(RULE.std, (2, 1, 1))
    np.testing.assert_allclose(Scaling.by(RULE, own)(planes, None)[0], expected, atol=2e-4)


def test_a_run_is_that_of_a_window_at_the_same_values_and_stores_them(stretched, tmp_path, monkeypatch):
    image = pixels((2, 150, 120)).astype(np.uint16) * 20
    image[:, :40, :50] = 0
    path = put(tmp_path / "a.tif", image, nodata=0)
    low, high = ends(image, (image > 0).any(0)).T
    size = high - low
    rule = Normalization("window", *map(tuple, (low + size * RULE.mean, size * RULE.std, low, high)))
    card = replace(SCENE_CARD, normalization=rule)
    save_model(tmp_path / "window", card, undecided(network_of(card.network)))
    segment(Job(str(path), tmp_path / "expected.tif", str(tmp_path / "window")))
    job, stop = Job(str(path), tmp_path / "mask.tif", stretched), Event()
    with pytest.raises(Interrupted):
        segment(job, observer=Callbacks(stop, phase=lambda name: stop.set() if name == "segmenting" else None))
    stored = json.loads((tmp_path / "mask.tif.partial" / STATISTICS).read_text())
    assert stored["shift"] == pytest.approx(low)
    assert stored["spread"] == pytest.approx(size)
    monkeypatch.setattr("pipeline.runs.staging.stretch", None)
    segment(job)
    np.testing.assert_array_equal(labels_of(tmp_path / "mask.tif"), labels_of(tmp_path / "expected.tif"))


def test_bands_and_strips_change_nothing_of_it(stretched, tmp_path):
    one = Job(str(put(tmp_path / "a.tif", pixels((2, 150, 2100)))), tmp_path / "one.tif", stretched)
    segment(one)
    for name, means in (("rows", Resources(rows=2048)), ("strips", Resources(memory=8 << 20))):
        segment(replace(one, output=tmp_path / f"{name}.tif"), means)
        assert contents(tmp_path / f"{name}.tif") == contents(tmp_path / "one.tif")
    assert plan(one).seconds > 0
    assert plan(one, Resources(memory=8 << 20), probe=False).strips > 1


def test_a_training_stretches_each_item_as_a_run_does(tmp_path):
    put(tmp_path / "label.tif", truth((150, 120), 3)[None])
    how = replace(SCENES.samples, normalization="percentile", low=RULE.low, high=RULE.high)
    training = replace(SCENES, data=Data("", ""), samples=how)
    items = []
    for seed in range(2):
        values = noise((150, 120), np.uint16, seed) * (1 + seed)
        path = put(tmp_path / f"{seed}.tif", values)
        items.append(Item(str(path), str(tmp_path / "label.tif"), "train"))
    gathered = collect_statistics(training, items)
    rule = normalization_of(training, gathered)
    for item, found in zip(items, gathered, strict=True):
        source = RasterSource(item.image)
        assert found.own == stretch(source, RULE.low, RULE.high)
        assert scaling_of(rule, found) == Scaling.by(rule, found.own)
    rest = [
        Scaling.by(rule, g.own)(RasterSource(i.image).read(Box.whole((150, 120))).values[None], None)
        for i, g in zip(items, gathered, strict=True)
    ]
    assert np.abs(np.concatenate(rest).mean((0, 2, 3))).max() < 0.1
    assert np.concatenate(rest).std((0, 2, 3)) == pytest.approx([1, 1], abs=0.15)
    with pytest.raises(
        RequestError, match="samples: normalisation: kind 'percentile' with 2 channels needs 2 values of low"
    ):
        collect_statistics(replace(training, samples=replace(how, low=(2.0,))), items)


def test_percentiles_that_are_none_are_refused():
    for low, high in (((-1.0, 2.0), (98.0, 98.0)), ((2.0, 2.0), (98.0, 101.0))):
        with pytest.raises(ValueError, match="percentiles are from 0 to 100"):
            replace(RULE, low=low, high=high).check(2)
    with pytest.raises(ValueError, match="low must be below high"):
        replace(RULE, low=(98.0, 2.0)).check(2)


@given(st.lists(st.floats(width=32), min_size=1, max_size=20), st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_shades_of_grey_go_from_black_to_white_in_order(values, low, distance):
    ordered = np.sort(np.array(values, np.float32))  # NaN last
    shades = to_gray(ordered, low, low + distance)[~np.isnan(ordered)].tolist()
    assert shades == sorted(shades)
    assert to_gray(np.array([low, np.nan, np.inf]), low, low + distance).tolist() == [0, 0, 255]


def test_a_pass_takes_more_rows_of_a_scene_than_slices_of_a_volume():
    scene, volume = ArraySource(np.zeros((1, 1500, 2), np.uint8)), ArraySource(np.zeros((1, 40, 2, 2), np.uint8))
    assert [box.start[0] for box, _ in slabs(scene)] == [0, 1024]
    assert [box.start[0] for box, _ in slabs(volume)] == [0, 16, 32]
    assert [box.start[0] for box, _ in slabs(volume, 30)] == [0, 30]
