"""The page of a model says what its card says, in Markdown and in HTML; what others wrote around it stays."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.evaluation.charts import reliability_svg, resolution_svg
from pipeline.io.raster import write_png
from pipeline.models.card import Appearance, Domain
from pipeline.models.catalogue import load_card, names
from pipeline.models.store import save_model
from tests.reports.test_scene import text_of
from tests.support.model_cases import CARD_2D, network_of, shallow

EVIL = "</script><b>x|y`"
BINS = [[10 * number, (number + 0.5) / 15, (number + 0.2) / 15] for number in range(15)]
CALIBRATION = {
    "temperature": 1.7,
    "ece": [0.021, 0.015, 0.03],
    "nll": [0.5, None, None],
    "classes": {"a": [0.01, None, None], EVIL: [None, None, None], "c": [0.03, None, None]},
    "bins": BINS,
    "before": {
        "ece": [0.123, 0.1, 0.15],
        "nll": [0.6, None, None],
        "classes": {},
        "bins": [[0, None, None], *BINS[1:]],
    },
}
SCHEDULE = {"rate": 0.01, "optimiser": "adamw"}
"""With words of older versions."""
ITEMS = {
    "train": {"count": 1200, "cells": 45_600_000, "classes": {"a": 0.75, EVIL: 0.2}, "places": [[-70.1, 33.5]]},
    "validation": {"count": 2, "cells": 100_000},
    "unlabeled": "of another program",
}
RECORD = {
    "items": 3,
    "counted": 12345,
    "megapixels_per_second": 1.5,
    "figures": {"accuracy": [0.9, 0.8, 0.95], "mean_iou": [0.61, 0.5, 0.7]},
    "classes": {
        "a": {"iou": [0.811, 0.7, 0.9]},
        EVIL: {"iou": [0.412, None, None]},
        "c": {"iou": [None, None, None]},
    },
    "settings": {},
    "calibration": CALIBRATION,
    "resolutions": [
        {
            "factor": factor,
            "ground": [0.5 * factor, 0.6 * factor],
            "figures": {"mean_iou": [0.6 / factor, None, None]},
            "classes": {name: {"iou": [value, None, None]} for name, value in (("a", 0.8), (EVIL, 0.4), ("c", None))},
        }
        for factor in (1.0, 2.0)
    ],
    "machine": {
        "processors": 2,
        "device": "cpu",
        "precision": "float32",
        "runtime": "torch",
        "peak_memory_bytes": 3 << 29,
    },
}


def call(*words, code=0):
    ended = CliRunner().invoke(app, ["models", *map(str, words)])
    assert ended.exit_code == code, ended.output
    return ended


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    spec = shallow(CARD_2D.network)
    first, _, last = CARD_2D.classes
    card = replace(
        CARD_2D,
        network=spec,
        classes=(first, replace(first, name=EVIL), last),
        temperature=1.7,
        evaluation={"test": RECORD, "validation": {"mean_iou": 0.5}},
        training={
            "data": {"images": "in/*.tif", "exclude": ["town"], "bands": None},
            "schedule": SCHEDULE,
            "items": ITEMS,
        },
        limits=("It has seen one city *only*.",),
        domain=Domain(((0.0, 255.0), (1.0, 9.0)), (0.3, 1.0), appearance=Appearance(level=((1.0, 2.0),) * 2)),
    )
    folder = tmp_path_factory.mktemp("models") / "mine"
    save_model(folder, card, network_of(spec))
    return folder


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("worst_b_mask", "failure_1_b_mask", "failure_2_a mask"):
        write_png(folder / f"{name}.png", np.full((3, 4, 5), 90, np.uint8))
    return folder


SAID = (
    "a 0.811 (0.700 to 0.900)",
    "mean 0.610 (0.500 to 0.700)",
    "expected calibration error 0.021 (0.015 to 0.030)",
    "without the temperature 0.123 (0.100 to 0.150)",
    "speed 1.5 Mpx/s on 2 processors (cpu, float32, torch)",
    "peak memory 1.5 GiB",
    "license of the weights CC0-1.0",
    "data and its license nobody",
    "images in/*.tif",
    "not trained on town",
    "learned from 1,200, 45.6 million cells, labeled a 75.0%, ",
    "selected by 2, 0.1 million cells",
    "places, to a tenth of a degree 33.5 N 70.1 W",
    "3 items, 12,345 cells with a truth. In brackets: 95 % intervals over items.",
    "values red 0 to 255, green 1 to 9",
    "pixels on the ground 0.3 to 1 m",
    "x 2, 1 to 1.2 m 0.800 0.400 - 0.300",
    "It has seen one city *only*.",
    "validation.mean_iou 0.5",
    "--reliability --resolutions 0.5,1,2,4 --pictures FOLDER --record test",
)


def plain(markdown):
    """What a reader of Markdown sees, about: no tables, no escapes."""
    cells = " ".join(part.strip() for part in markdown.replace("\\|", "¦").replace("|", " ").split())
    return re.sub(r"\\(.)", r"\1", cells)


def test_markdown_says_what_the_card_says(model, pictures, tmp_path):
    page = tmp_path / "docs" / "mine.md"
    page.parent.mkdir()
    assert call(model, "--page", page, "--pictures", pictures).stdout.strip() == str(page)
    text = page.read_text("utf-8")
    for said in SAID:
        assert said in plain(text), said
    linked = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert linked == [
        "../pictures/mine-test-reliability.svg",
        "../pictures/mine-test-resolutions.svg",
        "../pictures/worst_b_mask.png",
        "../pictures/failure_1_b_mask.png",
        "../pictures/failure_2_a%20mask.png",
    ]
    for chart in ("reliability", "resolutions"):
        ElementTree.parse(pictures / f"mine-test-{chart}.svg")


def test_what_is_written_around_the_generated_part_stays(model, tmp_path):
    page = tmp_path / "mine.md"
    call(model, "--page", page)
    made = page.read_text("utf-8")
    page.write_text(made.replace("0.811", "0.999").replace("# small scene", "# Mine\n\nHello.") + "\n## By hand\n")
    call(model, "--page", page)
    assert page.read_text("utf-8") == made.replace("# small scene", "# Mine\n\nHello.") + "\n## By hand\n"
    page.write_text("# Other\n")
    assert "already exists and was not generated" in call(model, "--page", page, code=1).stderr
    assert page.read_text("utf-8") == "# Other\n"


def test_html_says_the_same_in_one_file(model, pictures, tmp_path):
    page = tmp_path / "mine.html"
    call(model, "--page", page, "--pictures", pictures)
    said = text_of(page)
    for each in SAID:
        assert each in said, each
    text = page.read_text("utf-8")
    assert text.count("data:image/png;base64,") == 3
    assert text.count("<svg xmlns") == 2
    assert "<script" not in text
    assert "<b>x" not in text
    assert 'src="http' not in text
    call(model, "--page", page)


@pytest.mark.parametrize("name", names())
def test_a_model_without_records_of_this_kind_has_a_page_too(name, tmp_path):
    call(name, "--page", tmp_path / "page.md")
    assert f"# {name}" in (tmp_path / "page.md").read_text("utf-8")
    assert load_card(name).limits[0][:20] in plain((tmp_path / "page.md").read_text("utf-8"))


def numbers_of(svg, tag, names):
    nodes = ElementTree.fromstring(svg).iter(f"{{http://www.w3.org/2000/svg}}{tag}")
    return np.array([[float(node.get(name)) for name in names] for node in nodes])


def test_the_diagram_has_each_bin_at_its_place():
    dots = numbers_of(reliability_svg(CALIBRATION), "circle", ("cx", "cy"))
    assert len(dots) == 14 + 14, "a bin without cells has none"
    now = dots[-14:]
    confidence, accuracy = (now[:, 0] - 56) / 320, 1 - (now[:, 1] - 28) / 320
    np.testing.assert_allclose(confidence, [one for _, one, _ in BINS[1:]], atol=1e-3)
    np.testing.assert_allclose(accuracy, [one for _, _, one in BINS[1:]], atol=1e-3)


def test_the_curve_has_a_line_for_each_class_and_their_mean():
    svg = resolution_svg(RECORD["resolutions"], {"a": (1, 2, 3)})
    dots = numbers_of(svg, "circle", ("cx", "cy"))
    assert len(dots) == 2 * 3, "what is not defined is left out"
    np.testing.assert_allclose(1 - (dots[:, 1] - 28) / 320, [0.8, 0.8, 0.4, 0.4, 0.6, 0.3], atol=1e-3)
    assert "0.5-0.6" in svg
    assert "#010203" in svg


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--page", "a.md"), "--page: is the page of one model"),
        (("landcover", "hippocampus", "--page", "a.md"), "--page: is the page of one model"),
        (("landcover", "--pictures", "."), "give --page FILE"),
        (("landcover", "--page", "a.pdf"), "is Markdown (.md) or HTML (.html)"),
        (("landcover", "--page", "a.md", "--pictures", "none"), "no such folder"),
    ],
)
def test_a_wrong_request_is_refused(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in call(*words, code=2).stderr
    assert not list(tmp_path.iterdir())


def test_a_card_is_told_on_the_screen_too(model):
    said = " ".join(call(model).stdout.split())
    for each in (
        "a: IoU 0.811 (0.700 to 0.900)",
        "mean: IoU 0.610 (0.500 to 0.700)",
        "expected calibration error: 0.021 (0.015 to 0.030)",
        "speed: 1.5 Mpx/s on 2 processors (cpu, float32, torch)",
        "peak memory: 1.5 GiB",
        "pixels x 2, 1 to 1.2 m: mean IoU 0.300",
        "learned from: 1,200, 45.6 million cells",
        "pixels on the ground: 0.3 to 1 m",
        "training data.images: in/*.tif data.exclude: town schedule.learning_rate: 0.01 schedule.optimizer: adamw",
    ):
        assert each in said, each
    assert "items.train" not in said


def test_it_may_be_told_as_json(model, tmp_path):
    told = json.loads(call(model, "--page", tmp_path / "a.md", "--json").stdout)
    assert told == {"model": str(model), "page": str(tmp_path / "a.md")}
