"""`run --report` shows what it made."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.models.card import Appearance, Domain
from pipeline.models.store import load_model, save_model
from tests.reports.test_scene import layers_of, text_of
from tests.support.inputs import pixels, put_scene


def call(*words):
    return CliRunner().invoke(app, ["run", "--no-prefect", *map(str, words)])


@pytest.fixture
def scenes(tmp_path):
    (tmp_path / "in").mkdir()
    return [put_scene(tmp_path / "in" / f"{name}.tif", pixels((2, 150, 140)), nodata=0) for name in ("alpaca", "bison")]


def test_one_scene_has_its_page_beside_its_mask(scenes, models, tmp_path):
    mask = tmp_path / "out" / "mask.tif"
    words = ["--input", scenes[0], "--output", mask, "--model", models / "scene", "--layers", "confidence,disagreement"]
    ended = call(*words, "--report")
    assert ended.exit_code == 0, ended.stderr
    page = mask.with_name("mask_report.html")
    assert f"report: {page}" in ended.stderr
    assert list(layers_of(page)) == ["image", "mask", "confidence", "disagreement"]
    assert "seam index 0." in text_of(page)
    assert "overlap.0 32" in text_of(page) or "overlap 32, 24" in text_of(page)
    assert call(*words, "--report").exit_code == 0, "the page of a mask that is there is written again"


def test_the_page_tells_in_what_the_input_is_unlike_the_training(scenes, models, tmp_path):
    model = load_model(models / "scene")
    known = Domain(values=((0.0, 9.0),) * 2, appearance=Appearance(level=((500.0, 10.0),) * 2, usual=1.0))
    save_model(tmp_path / "model", replace(model.card, domain=known), model.network)
    ended = call("--input", scenes[0], "--model", tmp_path / "model", "--scale", 1, "--report", "--json")
    assert ended.exit_code == 0, ended.stderr
    (item,) = json.loads(ended.stdout)["items"]
    assert [remark["rule"] for remark in item["warnings"]] == ["value-range", "appearance"]
    page = text_of(scenes[0].with_name("alpaca_mask_report.html"))
    assert "Values do not look like those that the model scene was trained on" in page
    assert f"distance from the training data {item['distance']:.2f}" in page


def test_the_command_of_a_page_names_all_models(scenes, models, tmp_path):
    mask, model = tmp_path / "mask.tif", models / "scene"
    words = ["--input", scenes[0], "--output", mask, "--model", model, "--model", model, "--layers", "disagreement"]
    ended = call(*words, "--report")
    assert ended.exit_code == 0, ended.stderr
    page = text_of(mask.with_name("mask_report.html"))
    assert page.count("--model scene") == 2
    assert "disagreement 0." in page, "the figure of several models has the place of the seam index"


def test_several_have_the_page_of_their_archive(scenes, models, tmp_path):
    (tmp_path / "in" / "c.tif").write_bytes(b"broken")
    words = ["--input", tmp_path / "in", "--output", f"{tmp_path / 'out'}/", "--model", models / "scene", "--report"]
    ended = call(*words)
    assert ended.exit_code == 1
    page = tmp_path / "out" / "archive_report.html"
    assert "2 done, 1 quarantined" in text_of(page)
    ended = call(*words, "--hash-names")
    assert str(tmp_path) not in ended.stderr
    assert "alpaca" not in page.read_text("utf-8")


def test_one_mask_has_names(scenes, models, tmp_path):
    ended = call("--input", scenes[0], "--model", models / "scene", "--report", "--hash-names")
    assert ended.exit_code == 2
    assert not list(tmp_path.rglob("*_mask.tif"))


def planted(place):
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("mine")
    return place


@pytest.mark.parametrize("name", ["mask_report.html", "mask_confidence.tif"])
def test_what_a_run_would_replace_is_kept_and_told_before_it_begins(scenes, models, tmp_path, name):
    mine = planted(tmp_path / "out" / name)
    words = ["--input", scenes[0], "--output", tmp_path / "out" / "mask.tif", "--model", models / "scene"]
    words += ["--layers", "confidence", "--report"]
    ended = call(*words)
    assert ended.exit_code == 1
    assert f"{mine}: already exists" in ended.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    assert mine.read_text() == "mine"
    if name.endswith(".html"):
        assert call(*words, "--overwrite").exit_code == 0


@pytest.mark.parametrize("name", ["archive_report.html", "archive_report_thumbnails/mine.txt", "archive.json"])
def test_what_an_archive_would_replace_is_kept_and_told_before_it_begins(scenes, models, tmp_path, name):
    mine = planted(tmp_path / "out" / name)
    ended = call(
        "--input", tmp_path / "in", "--output", f"{tmp_path / 'out'}/", "--model", models / "scene", "--report"
    )
    assert ended.exit_code == 1
    assert str(mine if mine.suffix != ".txt" else mine.parent) in ended.stderr
    assert mine.read_text() == "mine"
    assert not list(tmp_path.rglob("*_mask.tif"))
