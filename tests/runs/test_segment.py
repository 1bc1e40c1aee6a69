from __future__ import annotations

import itertools

import nibabel
import numpy as np
import pytest
import rasterio
import zarr

from pipeline.geometry import Lattice
from pipeline.jobs.job import Job, Resources
from pipeline.models.inference.cpu import CpuPredictor
from pipeline.models.inference.device import choose_numerics
from pipeline.models.inference.fit import Scaling
from pipeline.models.inference.runtime import build_inference_model
from pipeline.models.inference.tta import TTA
from pipeline.models.store import load_model
from pipeline.runs.prepare import prepare
from pipeline.runs.segment import segment
from pipeline.runs.view_sweep import sweeps_of
from pipeline.sources.statistics import InputStatistics
from tests.support.inputs import SCENE_CARD, VOLUME_CARD, contents, labels_of, pixels, put_scene, put_volume

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def volume(tmp_path_factory):
    """A tilted volume in axes that are nobody's."""
    turn = np.array([[0.1, -0.7, 0.2, 10], [-0.6, 0, 0.1, -20], [0.1, 0.1, -2.5, 30], [0, 0, 0, 1]])
    return put_volume(tmp_path_factory.mktemp("volume") / "scan.nii.gz", pixels((14, 60, 80)).T.astype(np.int16), turn)


def reference(values, valid, lattice, network, classes):
    """Scores of a whole array in float64: pad by reflection, predict patch by patch, weigh, add, divide."""
    axes = range(len(lattice.shape))
    vectors = [np.maximum(np.exp(-8 * ((np.arange(n) + 0.5) * 2 / n - 1) ** 2), 1e-3) for n in lattice.patch]
    weights = np.ones(())
    for vector in vectors:
        weights = np.multiply.outer(weights, vector)
    room = [(m, m + max(0, p - n)) for m, p, n in zip(lattice.margin, lattice.patch, lattice.shape, strict=True)]
    values = np.pad(values, [(0, 0), *room], mode="reflect")
    valid = np.pad(valid, room, mode="reflect")
    sums = np.zeros((classes, *(max(n, p) for n, p in zip(lattice.shape, lattice.patch, strict=True))))
    total = np.zeros(sums.shape[1:])
    starts = [[*range(0, max(1, n - p), p - o), max(0, n - p)] for n, p, o in by_axis(lattice)]
    for start in itertools.product(*map(sorted, map(set, starts))):
        seen = tuple(slice(start[a], start[a] + lattice.patch[a] + 2 * lattice.margin[a]) for a in axes)
        inner = tuple(slice(start[a], start[a] + lattice.patch[a]) for a in axes)
        if not valid[seen].any():
            continue
        scores = network(values[(slice(None), *seen)][None], valid[seen][None])[0]
        sums[(slice(None), *inner)] += scores * weights
        total[inner] += weights
    blended = sums / np.where(total == 0, 1, total)
    return blended[(slice(None), *(slice(0, n) for n in lattice.shape))]


def by_axis(lattice):
    return zip(lattice.shape, lattice.patch, lattice.overlap, strict=True)


def agree(labels, scores, valid, nodata=255):
    """Whether labels are the best of `scores`, but for ties, and nodata just where nothing is valid."""
    best = np.take_along_axis(scores, np.where(valid, labels, 0)[None].astype(int), 0)[0]
    assert (labels[~valid] == nodata).all()
    assert (labels[valid] < len(scores)).all()
    close = best >= scores.max(0) - 1e-5
    assert close[valid].all()
    assert (labels == scores.argmax(0))[valid].mean() > 0.999
    assert len(np.unique(labels[valid])) > 1, "a network of one opinion tests nothing"


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A scene of one slab, with a hole and a corner without data."""
    values = pixels((2, 330, 100))
    values[:, 110:260, 20:70] = 0
    values[:, :30, :30] = 0
    return put_scene(tmp_path_factory.mktemp("short") / "scene.tif", values, nodata=0, tiled=True)


@pytest.mark.parametrize(
    ("name", "precision", "tta"),
    [("scene", "float32", None), ("short", "bfloat16", None), ("short", "float32", "flips,0.5")],
)
def test_a_scene_is_what_a_plain_loop_makes_of_it(name, models, tmp_path, precision, tta, request):
    mask, scene = tmp_path / "mask.tif", request.getfixturevalue(name)
    segment(Job(str(scene), mask, str(models / "scene"), tta=tta), Resources(device="cpu", precision=precision))
    with rasterio.open(scene) as dataset:
        values, valid = dataset.read(), dataset.read_masks(1) > 0
    lattice = Lattice(values.shape[1:], SCENE_CARD.patch, SCENE_CARD.overlap, (0, 0))
    model = load_model(models / "scene")
    form, asked = build_inference_model(model, choose_numerics("cpu", precision)), TTA.of(tta)
    network = CpuPredictor(form, Scaling.of(model.card), augmentation=asked)
    agree(labels_of(mask), reference(values, valid, lattice, network, 3), valid)


def test_a_volume_is_what_a_plain_loop_makes_of_it(volume, models, tmp_path):
    job = Job(str(volume), tmp_path / "mask.nii.gz", str(models / "volume"))
    segment(job, Resources(device="cpu", precision="float32"))
    ras = nibabel.as_closest_canonical(nibabel.load(volume))
    values = np.asanyarray(ras.dataobj).T[None].astype(np.float32)
    lattice = Lattice(values.shape[1:], (1, *VOLUME_CARD.patch), (0, *VOLUME_CARD.overlap), (1, 0, 0))
    model = load_model(models / "volume")
    scaling = Scaling.of(model.card, InputStatistics((float(values.mean()),), (float(values.std()),)))
    network = CpuPredictor(build_inference_model(model), scaling, (1.0, 1.0))
    valid = np.ones(values.shape[1:], bool)
    found = np.asanyarray(nibabel.as_closest_canonical(nibabel.load(job.output)).dataobj).T
    agree(found, reference(values, valid, lattice, network, 2), valid)


def test_a_mask_lies_exactly_where_its_scene_lies(scene, mask):
    with rasterio.open(scene) as before, rasterio.open(mask) as after:
        assert after.shape == before.shape
        assert after.transform == before.transform
        assert after.crs == before.crs
        assert after.nodata == 255
        assert np.array_equal(after.read_masks(1), before.read_masks(1))
        assert (after.count, after.dtypes) == (1, ("uint8",))


@pytest.mark.parametrize("name", ["m.nii", "m.nii.gz", "m.zarr"])
def test_a_mask_lies_exactly_where_its_volume_lies(volume, models, tmp_path, name):
    report = segment(Job(str(volume), tmp_path / name, str(models / "volume")))
    assert (report.status, report.cells, report.model) == ("done", 14 * 60 * 80, "volume")
    before = nibabel.load(volume)
    if name.endswith(".zarr"):
        record = zarr.open_group(tmp_path / name, mode="r").attrs["pipeline"]["grid"]
        assert np.array_equal(np.array(record["affine"])[:, [2, 1, 0, 3]], before.affine)
        assert record["shape"] == [14, 60, 80]
        return
    after = nibabel.load(tmp_path / name)
    assert after.shape == before.shape
    assert np.array_equal(after.affine, before.affine)
    for field in ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "pixdim", "xyzt_units"):
        assert np.array_equal(after.header[field], before.header[field]), field


def test_a_store_holds_the_same_as_a_geotiff(scene, mask, models, tmp_path):
    segment(Job(str(scene), tmp_path / "mask.zarr", str(models / "scene")))
    group = zarr.open_group(tmp_path / "mask.zarr", mode="r")
    assert np.array_equal(group["mask"][:], labels_of(mask))
    with rasterio.open(mask) as dataset:
        assert group.attrs["pipeline"]["grid"]["crs"] == dataset.crs.to_wkt()


def test_taller_bands_change_no_byte(scene, mask, models, tmp_path):
    segment(Job(str(scene), tmp_path / "other.tif", str(models / "scene")), Resources(rows=2048))
    assert contents(tmp_path / "other.tif") == contents(mask)


def test_strips_change_no_byte(models, tmp_path):
    wide = put_scene(tmp_path / "wide.tif", pixels((2, 60, 2300)))
    model = str(models / "scene")
    whole = segment(Job(str(wide), tmp_path / "whole.tif", model))
    strips, narrow = Job(str(wide), tmp_path / "strips.tif", model), Resources(memory=8 * 2**20)
    assert [len(sweep.slabs(narrow)) for sweep in sweeps_of(prepare(strips, narrow))] == [3]
    assert segment(strips, narrow).cells == whole.cells == 60 * 2300
    assert contents(tmp_path / "strips.tif") == contents(tmp_path / "whole.tif")
