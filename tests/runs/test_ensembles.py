"""Several models whose scores are averaged: what plain loops over each give, and what they must have in common."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import rasterio

from pipeline.archive.recipe import recipe_of
from pipeline.engine import Pixels
from pipeline.errors import ModelError, OutputError, RequestError
from pipeline.geometry import Lattice
from pipeline.jobs.inputs import jobs_of
from pipeline.jobs.job import Job, Resources
from pipeline.jobs.job_file import load_request
from pipeline.jobs.request import Request
from pipeline.models.card import Normalization
from pipeline.models.inference.cpu import CpuPredictor
from pipeline.models.inference.ensemble import EnsemblePredictor
from pipeline.models.inference.fit import Scaling
from pipeline.models.inference.runtime import build_inference_model
from pipeline.models.store import load_model, save_model
from pipeline.runs.plan import plan
from pipeline.runs.predictors import reference_models
from pipeline.runs.prepare import prepare
from pipeline.runs.segment import segment
from pipeline.runs.view_sweep import sweeps_of
from pipeline.runs.warm_up import Trial
from pipeline.sources.statistics import NO_STATISTICS
from tests.runs.test_segment import agree, reference
from tests.support.inputs import SCENE_CARD, contents, labels_of, undecided
from tests.support.model_cases import network_of

PLAIN = Resources(device="cpu", precision="float32")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A model of other weights, normalization and patch than `scene`, for the same classes."""
    folder = tmp_path_factory.mktemp("other") / "other"
    scaled = Normalization("fixed", (90.0, 110.0), (40.0, 60.0))
    card = replace(SCENE_CARD, name="other", normalization=scaled, patch=(64, 64), overlap=(8, 8))
    save_model(folder, card, undecided(network_of(card.network, 9)))
    return str(folder)


@pytest.fixture(scope="module")
def both(models, other):
    return str(models / "scene"), other


def predictor_of(path):
    model = load_model(path)
    return CpuPredictor(build_inference_model(model), Scaling.of(model.card))


def test_a_mask_is_the_best_mean_of_the_scores_of_each(scene, both, tmp_path):
    mask = tmp_path / "mask.tif"
    report = segment(Job(str(scene), mask, both), PLAIN)
    with rasterio.open(scene) as dataset:
        values, valid = dataset.read(), dataset.read_masks(1) > 0
    lattice = Lattice(values.shape[1:], SCENE_CARD.patch, SCENE_CARD.overlap, (0, 0))
    each = [reference(values, valid, lattice, predictor_of(path), 3) for path in both]
    agree(labels_of(mask), np.mean(each, 0), valid)
    assert report.model == "scene + other"
    alone = [scores.argmax(0)[valid] for scores in each]
    assert (alone[0] != alone[1]).mean() > 0.05, "models of one opinion test nothing"


def test_one_model_twice_is_that_model(scene, both, tmp_path):
    once, twice = tmp_path / "once.tif", tmp_path / "twice.tif"
    segment(Job(str(scene), once, both[1]), PLAIN)
    segment(Job(str(scene), twice, (both[1], both[1])), PLAIN)
    np.testing.assert_array_equal(labels_of(once), labels_of(twice))


@pytest.mark.slow
def test_bytes_do_not_depend_on_workers(scene, both, tmp_path):
    here, there = tmp_path / "a/mask.tif", tmp_path / "b/mask.tif"
    for mask, workers in ((here, None), (there, 2)):
        mask.parent.mkdir()
        segment(Job(str(scene), mask, both, also="disagreement"), replace(PLAIN, workers=workers))
    assert contents(here) == contents(there)


def test_the_disagreement_is_that_between_models_too(scene, both, tmp_path):
    job = Job(str(scene), tmp_path / "mask.tif", both, also="disagreement", overlap=(0, 0))
    report = segment(job, PLAIN)
    with rasterio.open(scene) as dataset:
        values, valid = dataset.read(), dataset.read_masks(1) > 0
    lattice = Lattice(values.shape[1:], SCENE_CARD.patch, (0, 0), (0, 0))
    each = np.array([reference(values, valid, lattice, predictor_of(path), 3) for path in both])
    spread = np.sqrt(each.var(0).sum(0))
    with rasterio.open(tmp_path / "mask_disagreement.tif") as dataset:
        found = dataset.read(1)
    covers = np.zeros(valid.shape, int)
    for _, row in lattice.rows():
        for patch in row:
            covers[patch.slices] += 1
    alone = valid & (covers == 1)
    np.testing.assert_allclose((found[alone] - 1.0) / 254, spread[alone], atol=0.5 / 254 + 1e-3)
    assert spread[alone].max() > 0.2
    assert report.seam_index is None
    assert report.disagreement == pytest.approx((found[found > 0] - 1.0).mean() / 254)


@pytest.mark.parametrize("squares", [False, True])
def test_scores_are_those_of_numpy(both, squares):
    each = [predictor_of(path) for path in both]
    values = np.random.default_rng(0).integers(0, 255, (1, 2, 64, 64)).astype(np.uint8)
    scores = np.array([member(values, None)[0] for member in each], np.float64)
    found = EnsemblePredictor(each, squares=squares)(values, None)[0]
    np.testing.assert_allclose(found[:3], scores.mean(0), atol=1e-6)
    assert len(found) == 3 + squares
    if squares:
        np.testing.assert_allclose(found[3], (scores**2).sum(1).mean(0), atol=1e-6)


def test_what_is_made_by_others_is_another_mask(scene, both, tmp_path):
    job = Job(str(scene), tmp_path / "mask.tif", both)
    segment(job, PLAIN)
    assert segment(job, PLAIN).status == "skipped"
    for models in (both[0], both[::-1], (*both, both[0])):
        with pytest.raises(OutputError, match="made with"):
            segment(replace(job, model=models), PLAIN)


def test_a_mask_of_shared_features_by_one_model_is_told_as_another(scene, both, tmp_path):
    job = Job(str(scene), tmp_path / "mask.tif", both[0], features="shared")
    segment(job, PLAIN)
    with pytest.raises(OutputError, match="made with"):
        segment(replace(job, model=both, features=None), PLAIN)


def test_models_of_one_name_are_all_in_the_recipe_of_an_archive(scene, both, tmp_path):
    model = load_model(both[1])
    save_model(tmp_path / "twin", replace(model.card, name="scene"), model.network)
    twin, first = str(tmp_path / "twin"), both[0]
    recipes = [recipe_of(Job(str(scene), None, models)) for models in (first, twin, (first, twin), (twin, first))]
    assert all(one != other for one, other in combinations(recipes, 2))
    assert recipes[0]["models"].keys() == {"scene"}, "recipes of one model are as older versions wrote them"


def test_what_is_tried_first_is_decided_among_classes(scene, both, tmp_path):
    (sweep,) = sweeps_of(prepare(Job(str(scene), tmp_path / "mask.tif", both, also="disagreement"), PLAIN))
    trial = Trial.of(sweep, reference_models(sweep), NO_STATISTICS)
    values = np.full((2, 128, 96), 90, np.uint8)
    scores = np.mean([predictor_of(path)(values[None], None)[0] for path in both], 0)
    np.testing.assert_array_equal(trial.labels(Pixels(values, None)), scores.argmax(0))


def test_one_in_a_list_is_that_one(scene, both, tmp_path):
    alone = (prepare(Job(str(scene), tmp_path / "m.tif", model), PLAIN) for model in (both[0], (both[0],)))
    first, second = (prepared.fingerprint() for prepared in alone)
    assert first == second
    assert "others" not in first


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("channels", ("b", "a"), "their channels differ, a, b and b, a"),
        ("classes", tuple(reversed(SCENE_CARD.classes)), "their classes differ"),
        ("averaging", "logits", "differ, softmax and logits"),
        ("values", "physical", "their values differ, raw and physical"),
        ("normalization", Normalization("zscore", (), ()), "their statistics of the input differ"),
    ],
)
def test_models_that_have_not_enough_in_common_are_refused(scene, both, tmp_path, field, value, words):
    model = load_model(both[1])
    save_model(tmp_path / "odd", replace(model.card, **{field: value}), model.network)
    with pytest.raises(ModelError, match=words):
        prepare(Job(str(scene), tmp_path / "mask.tif", (both[0], str(tmp_path / "odd"))), PLAIN)


def test_shared_features_are_for_one_model(scene, both, tmp_path):
    with pytest.raises(RequestError, match="--features shared: is for one model"):
        prepare(Job(str(scene), tmp_path / "mask.tif", both, features="shared"), PLAIN)


def test_a_job_file_has_one_or_several(scene, both, tmp_path):
    file = tmp_path / "job.toml"
    for text, models in ((f'"{both[0]}"', both[0]), (f'["{both[0]}", "{both[1]}"]', both)):
        file.write_text(f'input = "{scene}"\nmodel = {text}\n')
        (job,) = jobs_of(load_request(file, Request()))
        assert job.model == models


def test_a_plan_names_all(scene, both, tmp_path):
    assert plan(Job(str(scene), tmp_path / "mask.tif", both), PLAIN, probe=False).model == "scene + other"
