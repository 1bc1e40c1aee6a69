"""Runs whose patches share features: the same bytes however they are cut, and the paths around them."""

from __future__ import annotations

from dataclasses import replace

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.archive.archive import recipe_of
from pipeline.errors import Interrupted, RequestError
from pipeline.io.mask_files import mask_info
from pipeline.jobs.job import Job, Resources
from pipeline.models.store import load_model, save_model
from pipeline.runs.plan import plan
from pipeline.runs.prepare import prepare
from pipeline.runs.segment import segment
from pipeline.samples import scene_rows
from tests.support.inputs import contents, labels_of, pixels, put_scene, put_volume
from tests.support.observers import Callbacks

pytestmark = pytest.mark.slow
CPU = Resources(device="cpu", precision="float32", overwrite=True)


@pytest.fixture(scope="module")
def tall(tmp_path_factory):
    """A scene of several slabs, rows of blocks and columns of blocks, no side of it a whole unit."""
    return put_scene(tmp_path_factory.mktemp("tall") / "scene.tif", pixels((2, 2107, 150), 5))


@pytest.fixture(scope="module")
def job(tall, models, tmp_path_factory):
    mask = tmp_path_factory.mktemp("masks") / "mask.tif"
    return Job(str(tall), mask, str(models / "scene"), features="shared", patch=(128, 96), overlap=(64, 32))


@pytest.fixture(scope="module")
def shared(job) -> NDArray[np.uint8]:
    segment(job, CPU)
    return labels_of(job.output)


def test_it_is_recorded(job, shared):
    made = mask_info(job.output).provenance
    assert made is not None
    assert made["features"] == {"cells": [1024, 1024], "halo": [64, 64]}
    assert "features" not in prepare(replace(job, features=None), CPU).fingerprint()


def test_a_model_may_share_features_unless_the_job_says_otherwise(job, tmp_path):
    model = load_model(job.model)
    recipes = {}
    for default in (None, "patch", "shared"):
        save_model(tmp_path / f"{default}", replace(model.card, features=default), model.network)
        for asked in (None, "patch", "shared"):
            one = replace(job, model=str(tmp_path / f"{default}"), features=asked)
            assert plan(one, CPU, probe=False).features == (asked or default or "patch"), (asked, default)
        found = prepare(replace(one, features=None), CPU).fingerprint()
        assert ("features" in found) == (default == "shared")
        recipes[default] = recipe_of(replace(one, features=None))
    assert recipes[None] == recipes["patch"] != recipes["shared"]


def test_labels_are_near_those_of_patches_by_themselves(tmp_path):
    put_scene(tmp_path / "scene.tif", scene_rows(0, 512, 448)[0])
    found = []
    for features in ("patch", "shared"):
        made = Job(str(tmp_path / "scene.tif"), tmp_path / f"{features}.tif", "landcover", features=features)
        segment(made, CPU)
        found.append(labels_of(made.output))
    assert len(np.unique(found[0])) > 2
    assert 0.95 < (found[0] == found[1]).mean() < 1


@pytest.mark.parametrize("resources", [{"workers": 2}, {"memory": 4_000_000}, {"rows": 2048}], ids=str)
def test_it_is_the_same_however_it_is_cut(job, shared, resources, tmp_path):
    other = replace(job, output=tmp_path / "other.tif")
    segment(other, replace(CPU, **resources))
    np.testing.assert_array_equal(labels_of(other.output), shared)


def test_a_stopped_run_continues_to_the_same_bytes(job, shared, tmp_path):
    again = replace(job, output=tmp_path / "again.tif")
    seen = []

    class Stopping(Callbacks):
        def should_stop(self):
            return len(seen) > 1

        def advanced(self, cells):
            seen.append(cells)

    with pytest.raises(Interrupted):
        segment(again, CPU, Stopping())
    segment(again, CPU)
    assert contents(again.output) == contents(job.output)


def test_a_scene_of_one_patch_is_the_same_both_ways(models, tmp_path):
    scene = put_scene(tmp_path / "scene.tif", pixels((2, 128, 128), 3))
    both = [Job(str(scene), tmp_path / f"{f}.tif", str(models / "scene"), features=f) for f in ("patch", "shared")]
    for one in both:
        segment(replace(one, patch=(128, 128), overlap=(0, 0)), CPU)
    assert (labels_of(both[0].output) == labels_of(both[1].output)).mean() > 0.9999


@pytest.mark.parametrize("view", [None, "sagittal", "axial,coronal"])
def test_volumes_are_cut_and_resampled_as_without(models, tmp_path, view):
    turn = np.diag([0.5, 0.4, 0.6, 1.0])
    volume = put_volume(tmp_path / "scan.nii.gz", pixels((40, 70, 60)).T.astype(np.int16), turn)
    found = []
    for features in ("patch", "shared"):
        mask = tmp_path / f"{features}.nii.gz"
        segment(Job(str(volume), mask, str(models / "volume"), features=features, view=view), CPU)
        found.append(np.asarray(nibabel.load(mask).dataobj))
    assert found[0].shape == found[1].shape == nibabel.load(volume).shape
    assert (found[0] == found[1]).mean() > 0.8


def test_a_plan_tells(job):
    assert plan(job, CPU, probe=False).features == "shared"
    assert plan(job, CPU).seconds > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patch": (100, 96)}, "--patch 100,96: must be a multiple of 8 cells .*give --patch 104,96"),
        ({"overlap": (60, 32)}, "--overlap 60,32: must be a multiple of 8 .*give --overlap 56,32"),
        ({"tta": "0.75", "patch": None, "overlap": None}, "tta 0.75: .*give --features patch"),
    ],
)
def test_what_cannot_be_shared_is_refused(job, options, words):
    with pytest.raises(RequestError, match=words):
        prepare(replace(job, **options), CPU)
