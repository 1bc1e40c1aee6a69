"""How far probabilities can be trusted, against NumPy on whole arrays; and the temperature that makes them hold."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.evaluation import calibration
from pipeline.evaluation.calibration import LabeledJob, calibrate
from pipeline.evaluation.reliability import BINS
from pipeline.evaluation.request import Measures
from pipeline.geometry import Box
from pipeline.jobs.job import Job, Resources
from pipeline.models.catalogue import load_card
from pipeline.models.store import load_model, save_model
from pipeline.runs.observer import RunContext
from pipeline.runs.scored import scored
from tests.support.inputs import pixels, put_scene, put_volume

PLAIN = Resources(device="cpu", precision="float32")
FACTOR = 3.0


def call(*words, code=0):
    ended = CliRunner().invoke(app, ["evaluate", *map(str, words)])
    assert ended.exit_code == code, ended.output
    return ended


def scores_of(image, model):
    """Blended scores `(classes, *cells)` of an input."""
    with scored(Job(str(image), None, str(model)), RunContext(PLAIN)) as found:
        return found.read(Box.whole(found.grid.shape))


def drawn(scores, seed=0):
    """Classes drawn by the softmax of `scores` `(classes, *cells)`."""
    noise = np.random.default_rng(seed).gumbel(size=scores.shape)
    return (scores + noise).argmax(0).astype(np.uint8)


def sharpened(folder, model, **entries):
    """The model with its logits multiplied by a factor."""
    found = load_model(model)
    found.network.head[4].weight.mul_(FACTOR)
    found.network.head[4].bias.mul_(FACTOR)
    save_model(folder, replace(found.card, **entries), found.network, half=False)
    return folder


@pytest.fixture(scope="module")
def labeled(models, tmp_path_factory):
    """Two scenes with truths that the model `scene` is right about as often as it says; with holes and a stranger."""
    folder = tmp_path_factory.mktemp("labeled")
    for seed, name in enumerate("ab"):
        values = pixels((2, 140 - 20 * seed, 90), seed + 1)
        values[:, 60:75, 20:60] = 0
        image = put_scene(folder / f"{name}.tif", values, nodata=0)
        truth = drawn(np.log(np.nan_to_num(scores_of(image, models / "scene"), nan=0.3)), seed)
        truth[:9], truth[20:24] = 7, 255
        put_scene(folder / f"{name}_truth.tif", truth[None], nodata=255)
    return folder


def words(folder, model, *more):
    asked = ("--input", folder / "?.tif", "--truth", "{folder}/{stem}_truth.tif", "--model", model, "--ignore", "7")
    return (*asked, "--device", "cpu", "--precision", "float32", *more)


def expected_error(shares, truth, counted):
    """The calibration error of whole arrays, by a loop over the bins."""
    sure, right = shares.max(0)[counted], (shares.argmax(0) == truth)[counted]
    at = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = [abs(right[at == each].sum() - sure[at == each].sum()) for each in range(BINS)]
    return sum(gaps) / counted.sum()


def pooled(folder, model):
    """Probabilities `(classes, n)`, truths `(n,)` and which count, of both scenes."""
    parts = []
    for name in "ab":
        shares = scores_of(folder / f"{name}.tif", model).astype(np.float64)
        with rasterio.open(folder / f"{name}_truth.tif") as file:
            truth = file.read(1)
        counted = np.isin(truth, (0, 1, 2)) & np.isfinite(shares).all(0)
        parts.append((shares.reshape(3, -1), truth.ravel(), counted.ravel()))
    return tuple(np.concatenate(arrays, -1) for arrays in zip(*parts, strict=True))


@pytest.mark.parametrize(("averaging", "values"), [("softmax", 1 << 22), ("logits", 3000)])
def test_figures_are_those_of_whole_arrays_however_they_are_cut(
    labeled, models, tmp_path, monkeypatch, averaging, values
):
    monkeypatch.setattr(calibration, "_VALUES", values)
    plain = load_model(models / "scene")
    save_model(tmp_path / "model", replace(plain.card, averaging=averaging), plain.network)
    told = json.loads(call(*words(labeled, tmp_path / "model"), "--reliability", "--json").stdout)
    told = told["overall"]["calibration"]
    shares, truth, counted = pooled(labeled, tmp_path / "model")
    if averaging == "logits":
        shares = np.exp(shares - shares.max(0))
        shares /= shares.sum(0)
    assert told["before"] is None
    assert told["temperature"] == 1
    now = told["now"]
    assert now["ece"]["value"] == pytest.approx(expected_error(shares, truth, counted), abs=1e-6)
    assert now["ece"]["low"] <= now["ece"]["value"] <= now["ece"]["high"]
    likely = -np.log(np.take_along_axis(shares[:, counted], truth[counted][None].astype(int), 0)).mean()
    assert now["nll"]["value"] == pytest.approx(likely, rel=1e-5)
    assert sum(one["cells"] for one in now["bins"]) == counted.sum()
    for place, name in enumerate(("a", "b", "c")):
        own = counted & (np.where(np.isnan(shares), 0, shares).argmax(0) == place)
        assert now["classes"][name]["value"] == pytest.approx(expected_error(shares, truth, own), abs=1e-6)
    full = [one for one in now["bins"] if one["cells"] > 300]
    assert len(full) > 5
    if averaging == "softmax":
        assert all(abs(one["accuracy"] - one["confidence"]) < 0.07 for one in full), "the model itself drew the truths"


def test_a_factor_of_the_logits_is_found_again_and_probabilities_hold(labeled, models, tmp_path):
    model = sharpened(tmp_path / "sharp", models / "scene")
    one = words(labeled, model)
    asked = (one[0], labeled / "b.tif", *one[2:], "--json", "--bootstrap", 0)
    said = call(*asked, "--calibrate", "--record", "validation", "--pictures", tmp_path / "p")
    told = json.loads(said.stdout)["overall"]["calibration"]
    card = load_card(model)
    assert told["temperature"] == card.temperature == pytest.approx(FACTOR, rel=0.1)
    assert told["before"]["ece"]["value"] > 0.1
    assert told["now"]["ece"]["value"] < 0.04
    assert told["now"]["ece"]["low"] is None
    assert told["now"]["nll"]["value"] < told["before"]["nll"]["value"]
    kept = card.evaluation["validation"]["calibration"]
    assert kept["ece"][0] == pytest.approx(told["now"]["ece"]["value"], abs=1e-4)
    assert kept["before"]["ece"][0] == pytest.approx(told["before"]["ece"]["value"], abs=1e-4)
    assert len(kept["bins"]) == len(kept["before"]["bins"]) == BINS
    assert (tmp_path / "p" / "reliability.svg").exists()
    again = json.loads(call(*asked, "--reliability").stdout)["overall"]["calibration"]
    assert again == told, "the same items at the temperature of the card"
    shown = CliRunner().invoke(app, ["models", str(model)]).stdout
    assert ["temperature", f"{card.temperature:g}"] in [line.split() for line in shown.splitlines()]
    assert "without the temperature: " in shown


def test_views_of_a_volume_are_calibrated_together(models, tmp_path):
    image = put_volume(tmp_path / "v.nii", pixels((6, 14, 40), 5).T.astype(np.int16), np.eye(4))
    views = {"views": ("axial", "coronal"), "averaging": "softmax"}
    plain = load_model(models / "volume")
    save_model(tmp_path / "plain", replace(plain.card, **views), plain.network, half=False)
    truth = drawn(np.log(scores_of(image, tmp_path / "plain")))
    put_volume(tmp_path / "truth.nii", truth.T.copy(), np.eye(4))
    model = sharpened(tmp_path / "sharp", models / "volume", **views)
    job = Job(str(image), None, str(model))
    found = calibrate([LabeledJob(job, str(tmp_path / "truth.nii"))], Measures(bootstrap=0), RunContext(PLAIN))
    assert 2 < found.temperature < 4.5
    assert found.now.ece.value < 0.06 < found.before.ece.value
    assert found.now.nll.value < found.before.nll.value


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--predictions", "a.tif", "--truth", "t.tif", "--reliability"), "--reliability: is for inputs to segment"),
        (("--predictions", "a.tif", "--truth", "t.tif", "--calibrate"), "--calibrate writes into the card"),
        (
            ("--input", "a.tif", "--truth", "t.tif", "--calibrate"),
            "--calibrate writes into the card of a model; give one",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(more, said):
    assert said in call(*more, code=2).stderr
