"""Scenes evaluated with pixels of other sizes: as if the copies had been given."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.io.raster.resize import write_resized
from pipeline.models.catalogue import load_card
from pipeline.models.store import load_model, save_model
from tests.support.inputs import pixels, put_scene, put_volume


def call(*words, code=0):
    ended = CliRunner().invoke(app, ["evaluate", *map(str, words)])
    assert ended.exit_code == code, ended.output
    return ended


def test_each_size_has_the_figures_of_resized_scenes(models, tmp_path):
    scene = put_scene(tmp_path / "scene.tif", pixels((2, 120, 90)))
    truth = put_scene(tmp_path / "truth.tif", pixels((1, 120, 90), 7) % 3)
    model = load_model(models / "scene")
    save_model(tmp_path / "model", model.card, model.network)
    words = ("--input", scene, "--truth", truth, "--model", tmp_path / "model", "--device", "cpu")
    more = ("--resolutions", "1,2", "--record", "test", "--pictures", tmp_path / "p")
    overall = json.loads(call(*words, *more, "--json").stdout)["overall"]
    same, twice = overall["resolutions"]
    assert (same["factor"], twice["factor"]) == (1, 2)
    assert twice["ground"] == pytest.approx([1.0002, 1.0002], rel=1e-3)
    assert same["figures"]["mean_iou"]["value"] == overall["figures"]["mean_iou"]["value"]
    for path, labels in ((scene, False), (truth, True)):
        write_resized(str(path), tmp_path / f"large_{path.name}", 2.0, labels=labels)
    large = ("--input", tmp_path / "large_scene.tif", "--truth", tmp_path / "large_truth.tif", *words[4:])
    alone = json.loads(call(*large, "--json").stdout)["overall"]
    assert twice["figures"]["mean_iou"] == alone["figures"]["mean_iou"]
    assert twice["classes"]["b"] == alone["classes"][1]["figures"]["iou"]
    recorded = load_card(tmp_path / "model").evaluation["test"]
    assert [one["factor"] for one in recorded["resolutions"]] == [1, 2]
    assert recorded["resolutions"][1]["figures"]["mean_iou"][0] == round(alone["figures"]["mean_iou"]["value"], 4)
    assert recorded["machine"]["device"] == "cpu"
    assert recorded["machine"]["peak_memory_bytes"] > 1 << 20
    assert (tmp_path / "p" / "resolutions.svg").exists()


def test_what_has_no_other_size_is_refused(models, tmp_path):
    volume = put_volume(tmp_path / "v.nii", pixels((4, 20, 20)).T, np.eye(4))
    words = ("--input", volume, "--truth", volume, "--model", models / "volume")
    assert "must be multiples" in call(*words, "--resolutions", "0", code=2).stderr
    assert "is for inputs to segment" in call(volume, "--truth", volume, "--resolutions", "2", code=2).stderr
    labels = put_volume(tmp_path / "t.nii", pixels((4, 20, 20)).T % 2, np.eye(4))
    words = ("--input", volume, "--truth", labels, "--model", models / "volume")
    assert "is for scenes; this is a volume" in call(*words, "--resolutions", "2", code=2).stderr
