"""The report of a scene says what its mask and the files beside it hold, and what is missing."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline.classes import LabelClass
from pipeline.cli import app
from pipeline.errors import InputError, OutputError, RequestError
from pipeline.masks.areas import areas
from pipeline.reports import ReportOptions, write_report
from pipeline.reports.provenance import failed_places
from tests.support.pages import (
    CLASSES,
    EVALUATED,
    EVIL,
    RECORD,
    data_of,
    labels,
    picture_of,
    put_image,
    put_layer,
    put_mask,
)

SHAPE = (90, 120)


@pytest.fixture
def mask(tmp_path):
    return put_mask(tmp_path / "scene_mask.tif", labels(SHAPE))


@pytest.fixture
def image(tmp_path, mask):
    values = np.random.default_rng(0).integers(0, 255, (3, *SHAPE)).astype(np.uint8)
    return put_image(tmp_path / "scene.tif", values)


def text_of(page):
    """Text that a reader sees, spaces made one."""
    reader = _Reader()
    reader.feed(page.read_text("utf-8"))
    return " ".join(" ".join(reader.seen).split())


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen, self.tags, self.hidden = [], [], 0

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style")

    def handle_data(self, data):
        if not self.hidden:
            self.seen.append(data)


def layers_of(page):
    return {layer["name"]: layer for layer in data_of(page)["layers"]}


def test_a_page_holds_the_image_and_the_mask_cell_by_cell(mask, image):
    page = write_report(mask)
    assert page == mask.with_name("scene_mask_report.html")
    found = layers_of(page)
    assert list(found) == ["image", "mask", "failed patches"]
    failed = picture_of(found["failed patches"]["tiles"]["0/0/0"])[3, :90, :120] > 0
    assert (failed == (labels(SHAPE) == 255)).all(), "what the image has and the mask has not"
    tile = picture_of(found["mask"]["tiles"]["0/0/0"])
    assert (tile[0, :90, :120] == labels(SHAPE)).all()
    assert (tile[0, 90:] == 255).all()
    seen = picture_of(found["image"]["tiles"]["0/0/0"])
    assert (seen[3, :90, :120] == 255).all()
    assert not seen[3, 90:].any()


def test_areas_are_those_of_the_verb(mask, image):
    page = text_of(write_report(mask))
    for area in areas(mask):
        assert f"{area.cells:,}" in page
        assert f"{100 * area.share:.2f} %" in page
    assert "5.56% of all pixels" in page
    assert "patches that failed 3" in page


def test_patches_that_failed_are_shown_where_they_are(tmp_path, image):
    record = {**RECORD, "failed_patches": 2, "failed_patches_at": [[[0, 0], [20, 30]], [[64, 100], [90, 120]]]}
    page = write_report(put_mask(tmp_path / "gaps_mask.tif", labels(SHAPE), provenance=record))
    assert data_of(page)["failed"] == [[0, 0, 20, 30], [64, 100, 90, 120]]
    assert list(layers_of(page)) == ["image", "mask"], "no guess where the places are known"
    assert "Patches that failed" in text_of(page)
    assert "1 0 to 19 0 to 29 2 64 to 89 100 to 119" in text_of(page)
    assert "failed_patches_at" not in text_of(page)


NO_PLACES = [
    *(None, 3, "ab", [1], [[]], {"a": 1}, [{"a": 1, "b": 2}]),
    *([[[0, 0], [9]]], [[[0, 0, 0], [9, 9, 9]]], [[["0", "0"], ["9", "9"]]], [[[0.5, 0], [9, 9]]]),
    *([[[0, 0], [9, 999]]], [[[9, 0], [3, 9]]], [[[0, 0], [0, 9]]], [[[-1, 0], [9, 9]]]),
]


@pytest.mark.parametrize("said", NO_PLACES)
def test_places_that_cannot_be_are_not_shown(said):
    assert failed_places({"failed_patches_at": said}, SHAPE) == ()


def test_a_command_makes_the_mask_again(mask, image):
    page = text_of(write_report(mask, options=ReportOptions(image=str(image))))
    options = "--model landcover --patch 256,256 --overlap 64,64 --window hann --tta flips --layers confidence"
    assert f"pipeline run --input {image} --output {mask} {options} --overwrite" in page
    assert f"pipeline report {mask} --image {image}" in page
    assert RECORD["weights_sha256"] in page


def test_a_command_has_all_that_the_record_says(tmp_path):
    record = {
        "input": {"name": "a b.tif"},
        "bands": [3, 2, 1],
        "calibration": {"scale": [0.0001], "offset": [-0.1]},
        "keep_header_text": True,
        "patch": [[256, 256], [128, 128]],
        "features": {"block": 2048, "halo": 64},
        "aoi": "1f2e",
    }
    page = text_of(write_report(put_mask(tmp_path / "x_mask.tif", labels(SHAPE), provenance=record)))
    options = "--bands 3,2,1 --scale 0.0001 --offset=-0.1 --features shared --keep-header-text --overwrite --aoi AREA"
    assert f"pipeline run --input 'a b.tif' --output {tmp_path}/x_mask.tif {options}" in page


def test_layers_beside_the_mask_are_shown_with_their_histograms(tmp_path, mask, image):
    shares = np.linspace(0.5, 1, SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    shares[:20, :30] = np.nan
    put_layer(tmp_path / "scene_mask_confidence.tif", shares)
    page = write_report(mask)
    layer = layers_of(page)["confidence"]
    tile = picture_of(layer["tiles"]["0/0/0"])[:, :90, :120]
    assert (tile[3] > 0).tolist() == (~np.isnan(shares)).tolist()
    assert np.abs(tile[0] / 255 - shares)[~np.isnan(shares)].max() < 0.01
    assert "Histogram of confidence" in text_of(page)
    assert f"mean {np.nanmean(shares):.4f}".rstrip("0")[:9] in text_of(page)


def test_truth_gives_a_matrix_and_a_layer_of_errors(tmp_path, mask, image):
    expected = labels(SHAPE)
    expected[40:60, :40] = 1
    truth = put_mask(tmp_path / "truth.tif", expected)
    page = write_report(mask, options=ReportOptions(truth=str(truth)))
    wrong = picture_of(layers_of(page)["errors"]["tiles"]["0/0/0"])[3, :90, :120] > 0
    assert (wrong == (expected != labels(SHAPE))).all()
    seen = text_of(page)
    share = 1 - wrong.sum() / (expected != 255).sum()
    assert f"accuracy {share:.4f}" in seen
    assert "Confusion matrix" in seen


def test_nothing_in_a_file_becomes_a_part_of_the_page(tmp_path):
    mask = put_mask(tmp_path / "a<img src=x onerror=alert(3)>.tif", labels(SHAPE))
    page = write_report(mask)
    text = page.read_text("utf-8")
    reader = _Reader()
    reader.feed(text)
    assert [name for name, _ in reader.tags].count("script") == 3
    assert not [attrs for name, attrs in reader.tags if name == "img" or any(key.startswith("on") for key in attrs)]
    assert "\u202e" not in text
    assert data_of(page)["classes"][1]["name"] == EVIL
    assert EVALUATED not in text


def test_a_page_loads_nothing_and_runs_its_own_scripts_alone(mask):
    text = write_report(mask).read_text("utf-8")
    reader = _Reader()
    reader.feed(text)
    links = [attrs[key] for _, attrs in reader.tags for key in ("src", "href") if key in attrs]
    assert links == ["data:,", "#main"]
    policy = next(attrs["content"] for name, attrs in reader.tags if attrs.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.split("style-src")[0]


def test_the_same_mask_gives_the_same_bytes(tmp_path, mask, image):
    pages = [write_report(mask, tmp_path / name).read_bytes() for name in ("a.html", "b.html")]
    assert pages[0] == pages[1]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({}, "does not say what it was made from; give its image with --image"),
        ({"input": {"name": "elsewhere.tif"}}, "elsewhere.tif is not beside the mask; give the image"),
        ({"input": {"name": "scene.tif", "bytes": 7}}, "scene.tif has changed since the mask was made"),
        ({"input": {"name": "scene.tif", "bytes": "7"}, "failed_patches": {"a": [1]}, "patch": [[1], 2]}, "a': [1]"),
        ({"input": {"name": ["a", 7]}, "overlap": {"a": None}}, "does not say what it was made from"),
        ({"input": {"name": "..", "bytes": 1}}, "is not shown"),
        (["no", "record"], "does not say what it was made from"),
    ],
)
def test_a_page_says_what_is_missing(tmp_path, image, record, words):
    mask = put_mask(tmp_path / "other_mask.tif", labels(SHAPE), provenance=record)
    assert words in text_of(write_report(mask))


def test_an_image_on_another_grid_is_refused_if_given_and_left_out_if_found(tmp_path, mask):
    other = put_image(tmp_path / "scene.tif", np.zeros((3, 80, 120), np.uint8))
    with pytest.raises(InputError, match=r"another grid.*\(90, 120\) and \(80, 120\)"):
        write_report(mask, options=ReportOptions(image=str(other)))
    assert not mask.with_name("scene_mask_report.html").exists()
    page = write_report(mask)
    assert "is not shown" in text_of(page)
    assert list(layers_of(page)) == ["mask"]


def test_all_nodata_is_told(tmp_path):
    mask = put_mask(tmp_path / "empty_mask.tif", np.full(SHAPE, 255, np.uint8))
    page = write_report(mask)
    assert "Nothing was observed: all 10,800 cells are nodata" in text_of(page)
    assert layers_of(page)["mask"]["tiles"] == {}


def test_three_hundred_classes(tmp_path):
    values = (np.arange(SHAPE[0] * SHAPE[1]) % 300).reshape(SHAPE).astype(np.uint16)
    classes = tuple(LabelClass(value, f"class {value}", (value % 256, 0, 0)) for value in range(300))
    page = write_report(put_mask(tmp_path / "many_mask.tif", values, nodata=65535, classes=classes))
    tile = picture_of(layers_of(page)["mask"]["tiles"]["0/0/0"]).astype(int)[:, :90, :120]
    assert (tile[0] + 256 * tile[1] == values).all()
    assert "Table of 300 classes" in text_of(page)
    assert "and 288 more" in text_of(page)


def test_a_damaged_mask_leaves_no_page(tmp_path):
    mask = put_mask(tmp_path / "cut_mask.tif", np.random.default_rng(0).integers(0, 3, (600, 700)).astype(np.uint8))
    mask.write_bytes(mask.read_bytes()[:-3000])
    with pytest.raises(InputError, match=r"cut_mask\.tif"):
        write_report(mask)
    assert not list(tmp_path.glob("*.html"))


def test_a_large_scene_is_shown_in_the_pixels_asked_for(tmp_path):
    values = np.random.default_rng(0).integers(0, 3, (700, 1300)).astype(np.uint8)
    page = write_report(put_mask(tmp_path / "large_mask.tif", values), options=ReportOptions(detail=650))
    shown = data_of(page)
    assert (shown["shape"], shown["cells"], shown["zooms"]) == ([350, 650], [700, 1300], 2)
    assert sorted(shown["layers"][0]["tiles"]) == ["0/0/0", "1/0/0", "1/1/0"]


@pytest.mark.parametrize("asked", [{"hash_names": True}, {"reviews": Path("reviews.csv")}])
def test_options_of_archives_are_refused(mask, asked):
    with pytest.raises(RequestError, match=f"--{next(iter(asked)).replace('_', '-')}: is for the report of an archive"):
        write_report(mask, options=ReportOptions(**asked))


@pytest.mark.parametrize("detail", [1, 100_000])
def test_detail_has_limits(mask, detail):
    with pytest.raises(RequestError, match=f"--detail {detail}"):
        write_report(mask, options=ReportOptions(detail=detail))


def test_a_file_that_is_no_report_is_kept(tmp_path, mask):
    mine = tmp_path / "mine.html"
    mine.write_text("mine")
    with pytest.raises(OutputError, match="is not a report"):
        write_report(mask, mine)
    assert mine.read_text() == "mine"
    write_report(mask, mine, ReportOptions(overwrite=True))
    write_report(mask, mine)
    with pytest.raises(RequestError, match=r"ends in \.html"):
        write_report(mask, tmp_path / "page.pdf")


def test_the_verb_tells_the_page(mask, image):
    ended = CliRunner().invoke(app, ["report", str(mask), "--json"])
    assert json.loads(ended.stdout) == {"input": str(mask), "output": str(mask.with_name("scene_mask_report.html"))}
    assert len(CLASSES) == 3


def test_a_mask_in_a_store_is_shown_like_one_in_a_file(tmp_path):
    shapes = {}
    for suffix in (".tif", ".zarr"):
        mask = put_mask(tmp_path / f"scene{suffix[1:]}_mask{suffix}", labels(SHAPE))
        shapes[suffix] = layers_of(write_report(mask))["mask"]["tiles"]
    assert shapes[".tif"] == shapes[".zarr"]
