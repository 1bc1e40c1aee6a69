"""A training that is only tried: a picture of its samples, and what it would take."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.training.dataset import TrainingPatches
from pipeline.training.preview import SHOWN, draw_samples
from pipeline.training.run import TrainingResources, ready_for
from tests.support.trainings import CLASSES, SCENES, STILL, TOML, VOLUMES, put_scenes, put_volumes

HERE = TrainingResources("cpu")


def samples_of(training, folder):
    ready = ready_for(training, folder, HERE, lambda _: None)
    patches = TrainingPatches(training, ready.statistics, ready.normalization, range(SHOWN))
    return [patches[number] for number in range(SHOWN)]


def test_the_picture_shows_images_above_their_labels(tmp_path):
    training = replace(SCENES, augmentation=STILL)
    samples = samples_of(training, put_scenes(tmp_path))
    picture = draw_samples(samples, training)
    bright = samples[1].labels.numpy() == 1
    labels = picture[32:64, 36:68]
    assert (labels[bright] == CLASSES[1].color).all()
    assert (labels[samples[1].labels.numpy() == 0] == CLASSES[0].color).all()
    image = picture[:32, 36:68, 0].astype(int)
    assert image[bright].mean() > image[~bright].mean() + 50


def test_a_slice_of_a_volume_is_shown_in_gray(tmp_path):
    samples = samples_of(VOLUMES, put_volumes(tmp_path))
    picture = draw_samples(samples, VOLUMES)
    shown = picture[:24, :24]
    assert (shown == shown[..., :1]).all()
    middle = samples[0].image[1].numpy()
    assert np.corrcoef(middle.ravel(), shown[..., 0].ravel())[0, 1] > 0.9


@pytest.mark.slow
def test_a_dry_run_trains_nothing(tmp_path):
    put_scenes(tmp_path)
    words = TOML.replace("output_stride = 16", "output_stride = 8").replace("steps = 12", "steps = 12\ncoarse = 0.5")
    (tmp_path / "small.toml").write_text(words)
    asked = ["train", "--config", str(tmp_path / "small.toml"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    told = CliRunner().invoke(app, [*asked, "--dry-run", "--json"])
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert found["steps"] == 12
    assert found["hours"] == pytest.approx(found["seconds_per_step"] * 12 / 3600, abs=0.01)
    assert 0 < found["seconds_per_step"] < 60
    assert found["memory"] > 2**27
    assert found["validation_hours"] >= 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["samples.png"]
    with Image.open(found["samples"]) as picture:
        assert picture.size[0] > 6 * 32
