"""A card's temperature: probabilities are those of logits divided by it, in every way of computing them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio

from pipeline.archive.recipe import recipe_of
from pipeline.errors import OutputError
from pipeline.jobs.job import Job, Resources
from pipeline.models.catalogue import CARD, load_card
from pipeline.models.inference.cpu import CpuPredictor
from pipeline.models.inference.fit import Scaling
from pipeline.models.inference.runtime import build_inference_model
from pipeline.models.inference.tta import TTA
from pipeline.models.store import load_model, save_model
from pipeline.runs.prepare import prepare
from pipeline.runs.segment import segment
from tests.support.inputs import contents, labels_of, pixels, put_scene
from tests.support.model_cases import CARD_3D, model_of

PLAIN = Resources(device="cpu", precision="float32")
T = 2.5
ALONE = np.s_[:, :12]
"""Cells that one patch alone covers: the last row of patches is moved inside the scene."""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return put_scene(tmp_path_factory.mktemp("small") / "scene.tif", pixels((2, 140, 96), 3))


@pytest.fixture
def put(models, tmp_path):
    """Writes the model `scene` under a name, with other entries in its card."""

    def write(name, **entries):
        model = load_model(models / "scene")
        save_model(tmp_path / name, replace(model.card, name="scene", **entries), model.network)
        return str(tmp_path / name)

    return write


def scores_of(scene, model, tmp_path, resources=PLAIN, **how):
    """The layer of scores, `(classes, rows, columns)`, of patches that no other overlaps."""
    mask = tmp_path / f"{len(list(tmp_path.iterdir()))}.tif"
    segment(Job(str(scene), mask, model, also="scores", overlap=(0, 0), **how), resources)
    with rasterio.open(mask.with_name(f"{mask.stem}_scores.tif")) as file:
        return file.read().astype(np.float64)


def tempered(shares, temperature=T):
    """The softmax of logits divided by a temperature, from their softmax."""
    powers = shares ** (1 / temperature)
    return powers / powers.sum(0)


@pytest.mark.parametrize(
    ("how", "resources"),
    [
        ({}, PLAIN),
        ({"features": "shared", "patch": (128, 96)}, PLAIN),
        ({}, replace(PLAIN, runtime="openvino")),
        ({"features": "shared", "patch": (128, 96)}, replace(PLAIN, runtime="openvino")),
    ],
    ids=["patch", "shared", "openvino", "openvino shared"],
)
def test_probabilities_are_those_of_divided_logits(small, put, tmp_path, how, resources):
    if resources.runtime == "openvino":
        pytest.importorskip("openvino")
    plain = scores_of(small, put("plain"), tmp_path, resources, **how)
    found = scores_of(small, put("warm", temperature=T), tmp_path, resources, **how)
    np.testing.assert_allclose(found[ALONE], tempered(plain)[ALONE], atol=2e-5)
    assert np.abs(found - plain).max() > 0.05


def test_several_models_have_each_their_own(small, put, tmp_path):
    cold, warm = put("cold", temperature=0.5), put("warm", temperature=T)
    plain = scores_of(small, put("plain"), tmp_path)
    found = scores_of(small, (cold, warm), tmp_path)
    np.testing.assert_allclose(found[ALONE], ((tempered(plain, 0.5) + tempered(plain)) / 2)[ALONE], atol=2e-5)


@pytest.mark.parametrize("averaging", ["softmax", "logits"])
def test_each_pass_of_a_patch_is_divided(averaging):
    """Of a view of a volume: that all passes are averaged after the softmax, and that logits stay as they are."""
    base = replace(CARD_3D, averaging=averaging)
    values = np.random.default_rng(0).normal(size=(1, 1, 3, 48, 32)).astype(np.float32)
    predictors = [
        CpuPredictor(
            build_inference_model(model_of(replace(base, temperature=temperature))),
            Scaling((0.0,), (1.0,)),
            (0.5, 0.5),
            augmentation=TTA.of("flips,0.5"),
        )
        for temperature in (None, T)
    ]
    plain, warm = (predictor(values, None) for predictor in predictors)
    if averaging == "logits":
        assert plain.tobytes() == warm.tobytes()
    else:
        assert np.abs(plain - warm).max() > 1e-3
        np.testing.assert_allclose(warm.sum(1), 1, atol=1e-5)


def test_a_mask_of_blended_logits_keeps_its_bytes_and_gets_other_probabilities(small, put, tmp_path):
    layers = {}
    for name, entries in (("plain", {}), ("warm", {"temperature": T})):
        mask = tmp_path / f"{name}.tif"
        model = put(name, averaging="logits", **entries)
        segment(Job(str(small), mask, model, also="confidence,probabilities,scores"), PLAIN)
        layers[name] = [labels_of(mask)]
        for layer in ("confidence", "probabilities", "scores"):
            with rasterio.open(tmp_path / f"{name}_{layer}.tif") as file:
                layers[name].append(file.read())
    (before, _, _, logits), (after, confidence, probabilities, same) = layers["plain"], layers["warm"]
    assert before.tobytes() == after.tobytes()
    assert logits.tobytes() == same.tobytes()
    powers = np.exp(logits.astype(np.float64) / T)
    shares = powers / powers.sum(0)
    np.testing.assert_allclose((probabilities - 1.0) / 254, shares, atol=0.5 / 254 + 1e-5)
    np.testing.assert_allclose((confidence[0] - 1.0) / 254, shares.max(0), atol=0.5 / 254 + 1e-5)


def test_logits_of_several_models_are_brought_to_one_temperature(small, put, tmp_path):
    cold, warm = (put(name, averaging="logits", temperature=t) for name, t in (("cold", 0.5), ("warm", T)))
    plain = scores_of(small, put("plain", averaging="logits"), tmp_path)
    found = scores_of(small, (cold, warm), tmp_path)
    np.testing.assert_allclose(found / 0.5, (plain / 0.5 + plain / T) / 2, atol=1e-4)
    twice = scores_of(small, (warm, warm), tmp_path)
    np.testing.assert_allclose(twice, plain, atol=1e-6)


def test_it_decides_bytes_only_where_it_is_not_1(small, put, tmp_path):
    records = [
        prepare(Job(str(small), tmp_path / "m.tif", put(f"{t}", temperature=t)), PLAIN).fingerprint()
        for t in (None, 1.0, T)
    ]
    assert records[0] == records[1]
    assert records[2] == {**records[0], "temperature": T}
    recipes = [recipe_of(Job(str(small), model=put(f"{t}", temperature=t))) for t in (None, 1.0, T)]
    assert recipes[0] == recipes[1] != recipes[2]


def test_a_run_that_began_without_one_is_not_resumed_with_one(small, put, tmp_path):
    model = put("model")
    job = Job(str(small), tmp_path / "mask.tif", model)
    segment(job, PLAIN)
    before = contents(tmp_path / "mask.tif")
    put("model", temperature=T)
    with pytest.raises(OutputError, match=r"made with temperature"):
        segment(job, PLAIN)
    assert contents(tmp_path / "mask.tif") == before


def test_a_card_has_one_above_0_or_none(put):
    folder = put("model")
    card = load_card(folder)
    assert "temperature" not in card.to_json()
    with pytest.raises(ValueError, match="temperature: must be above 0, got 0"):
        replace(card, temperature=0.0)
    words = json.loads(replace(card, temperature=T).to_json())
    assert words["temperature"] == T
    path = load_model(folder).path.with_name(CARD)
    path.write_text(json.dumps(words))
    assert load_card(folder).temperature == T
