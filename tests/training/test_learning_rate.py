"""Learning rates that are tried: what is suggested of a curve, and that nothing else of a training changes."""

from __future__ import annotations

import csv
import json
from math import log10
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.training import learning_rate
from pipeline.training.learning_rate import HIGHEST, LOWEST, STEPS, rates_svg, suggested
from tests.support.trainings import TOML, put_scenes

RATES = np.geomspace(LOWEST, HIGHEST, STEPS)


def losses_of(begin, end, height, noise, seed):
    """Losses that are level up to a power of ten, fall until another, and rise after it."""
    powers = np.log10(RATES)
    falling = np.clip((powers - begin) / (end - begin), 0, 1)
    rising = np.clip(powers - end, 0, None)
    return height * (2 - falling + 3 * rising) + np.random.default_rng(seed).normal(0, noise * height, STEPS)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-4.5, -2.5),
    st.floats(1.2, 2.0),
    st.floats(0.01, 100.0),
    st.floats(0.0, 0.15),
    st.integers(0, 2**32),
)
def test_the_suggestion_is_in_the_middle_of_the_fall_whatever_the_noise(begin, decades, height, noise, seed):
    found = suggested(RATES, losses_of(begin, begin + decades, height, noise, seed))
    assert log10(found) == pytest.approx(begin + decades / 2, abs=0.5)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_nothing_is_suggested_where_the_loss_does_not_fall(slope, seed):
    losses = 1.0 + slope * np.clip(np.log10(RATES) + 3, 0, None) + np.random.default_rng(seed).normal(0, 0.1, STEPS)
    assert suggested(RATES, losses) is None


def test_a_trial_that_ended_at_once_is_drawn_and_suggests_nothing():
    assert suggested(RATES[:1], [3.0]) is None
    ElementTree.fromstring(rates_svg(RATES[:1].tolist(), [3.0], None))


@pytest.mark.slow
def test_rates_are_tried_and_the_training_in_the_folder_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(learning_rate, "STEPS", 40)
    put_scenes(tmp_path)
    (tmp_path / "small.toml").write_text(TOML.replace("batch = 4", "batch = 2"))
    asked = ["train", "--config", str(tmp_path / "small.toml"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out/training.json").write_text("that of another training")
    told = CliRunner().invoke(app, [*asked, "--find-learning-rate", "--json"])
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    assert 1e-4 < found["learning_rate"] < 0.3
    with Path(found["table"]).open() as file:
        rows = [(float(row["learning_rate"]), float(row["loss"])) for row in csv.DictReader(file)]
    assert len(rows) == found["steps"] <= 40
    assert [rate for rate, _ in rows] == pytest.approx(np.geomspace(LOWEST, HIGHEST, 40)[: len(rows)])
    assert suggested(*zip(*rows, strict=True)) == found["learning_rate"]
    ElementTree.parse(found["chart"])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "training.json",
        "learning_rate.csv",
        "learning_rate.svg",
    }
    assert (tmp_path / "out/training.json").read_text() == "that of another training"
    both = CliRunner().invoke(app, [*asked, "--find-learning-rate", "--dry-run"])
    assert both.exit_code == 2
    assert "give one of them" in both.stderr
