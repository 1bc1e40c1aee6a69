"""Runs whose patches share features: the same bytes however they are cut, and the paths around them."""

from __future__ import annotations

import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.archive.archive import open_archive
from pipeline.archive.recipe import recipe_of
from pipeline.archive.run import segment_all
from pipeline.errors import Interrupted, OutputError, RequestError
from pipeline.io.mask_files import mask_info
from pipeline.jobs.job import Job, Resources
from pipeline.models.store import load_model, save_model
from pipeline.runs.observer import RunContext
from pipeline.runs.plan import plan
from pipeline.runs.prepare import prepare
from pipeline.runs.segment import segment
from pipeline.samples import scene_rows
from tests.support.inputs import contents, labels_of, pixels, put_scene, put_volume
from tests.support.model_cases import CARD_2D, network_of
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
    assert made["features"] == {"cells": [576, 576], "halo": [32, 32]}
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


@pytest.fixture(scope="module")
def decoding(tmp_path_factory):
    """A model with a decoder, and the same without."""
    folder = tmp_path_factory.mktemp("decoding")
    lite = replace(CARD_2D.network, backbone="efficientnet_lite0")
    networks = {
        "plain": CARD_2D.network,
        "decoder": replace(CARD_2D.network, decoder_channels=(6, 5)),
        "decoder to 2": replace(lite, decoder_channels=(6, 5, 4)),
        "plain lite": lite,
    }
    for name, network in networks.items():
        card = replace(CARD_2D, network=network)
        save_model(folder / name, card, network_of(card.network))
    return folder


@pytest.mark.parametrize(
    ("name", "resources"), [("decoder", {"workers": 2}), ("decoder to 2", {"memory": 8_000_000})], ids=str
)
def test_with_a_decoder_it_is_the_same_however_it_is_cut(job, decoding, name, resources, tmp_path):
    whole = replace(job, model=str(decoding / name), output=tmp_path / "whole.tif")
    segment(whole, CPU)
    other = replace(whole, output=tmp_path / "other.tif")
    segment(other, replace(CPU, **resources))
    assert len(np.unique(labels_of(whole.output))) > 1
    np.testing.assert_array_equal(labels_of(other.output), labels_of(whole.output))


@pytest.mark.parametrize(("without", "name", "times"), [("plain", "decoder", 16), ("plain lite", "decoder to 2", 64)])
def test_a_plan_counts_the_scores_of_a_decoder(job, decoding, without, name, times):
    """So many for each cell of the features instead of one, in patches that wait, and in strips."""
    held = [
        plan(replace(job, model=str(decoding / name), output=None), CPU, probe=False).memory_bytes
        for name in (without, name)
    ]
    cells = 2107 * 150 // 16**2
    assert held[1] - held[0] > 4 * times * cells


class Stopping(Callbacks):
    """Stops when a slab is done, or nearly."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def should_stop(self):
        return self.seen > 1

    def advanced(self, cells):
        self.seen += 1


def test_a_stopped_run_continues_to_the_same_bytes(job, shared, tmp_path):
    again = replace(job, output=tmp_path / "again.tif")
    with pytest.raises(Interrupted):
        segment(again, CPU, Stopping())
    segment(again, CPU)
    assert contents(again.output) == contents(job.output)


@pytest.fixture
def later(job, tmp_path):
    """A job with a model that gets another default by a call."""
    model = load_model(job.model)
    save_model(tmp_path / "model", model.card, model.network)
    one = replace(job, model=str(tmp_path / "model"), features=None, output=tmp_path / "mask.tif")
    card = tmp_path / "model" / "card.json"
    return one, lambda: card.write_text(json.dumps(json.loads(card.read_text()) | {"features": "shared"}))


def test_what_an_older_default_began_goes_on_as_it_began(later, job, shared, tmp_path):
    one, renew = later
    with pytest.raises(Interrupted):
        segment(one, CPU, Stopping())
    renew()
    with pytest.raises(OutputError, match=r"features"):
        segment(replace(one, features="shared"), replace(CPU, overwrite=False))
    segment(one, CPU)
    assert "features" not in mask_info(one.output).provenance
    expected = replace(job, features="patch", output=tmp_path / "expected.tif")
    segment(expected, CPU)
    np.testing.assert_array_equal(labels_of(one.output), labels_of(expected.output))
    assert segment(one, replace(CPU, overwrite=False)).status == "skipped"
    assert segment(one, CPU).status == "done"
    np.testing.assert_array_equal(labels_of(one.output), shared)


def test_an_archive_of_an_older_default_goes_on_as_it_began(later, tmp_path):
    one, renew = later
    scenes = [put_scene(tmp_path / f"{number}.tif", pixels((2, 200, 150), number)) for number in range(2)]
    both = [replace(one, input=str(scene), output=tmp_path / "masks" / scene.name) for scene in scenes]
    plain = replace(CPU, overwrite=False)

    def archived(jobs, resources):
        with open_archive(tmp_path / "masks" / "archive.sqlite") as archive:
            made = [report.status for report in segment_all(jobs, RunContext(resources), archive)]
        return made, ["features" in mask_info(job.output).provenance for job in jobs]

    assert archived(both[:1], plain) == (["done"], [False])
    renew()
    assert archived(both, plain) == (["skipped", "done"], [False, False])
    with pytest.raises(RequestError, match="features"):
        archived([replace(job, features="shared") for job in both], plain)
    assert archived(both, CPU) == (["done", "done"], [True, True])


def test_a_default_gives_way_to_a_patch_that_cannot_share(later):
    one, renew = later
    renew()
    assert plan(one, CPU, probe=False).features == "shared"
    assert plan(replace(one, patch=(100, 96)), CPU, probe=False).features == "patch"


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
