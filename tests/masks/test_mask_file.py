"""What a notebook shows of a mask."""

from __future__ import annotations

import base64
import io
import re
import tracemalloc
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.classes import LabelClass
from pipeline.geometry import Grid
from pipeline.masks import MaskFile, mask_file
from pipeline.masks.areas import areas
from pipeline.masks.structures import measure
from tests.support.pages import CLASSES, EVIL, labels, put_mask

EVIL_NAME = EVIL.replace("/", "|")
AXIAL = Grid((6, 40, 30), ((0, 0, -1, 0), (0, -1, 0, 0), (2, 0, 0, 0), (0, 0, 0, 1)), ("z", "y", "x"))
"""Slices of 2 mm in LPS, which is how they are shown."""


class Reader(HTMLParser):
    """Tags with their attributes, and text, of HTML that must be balanced."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.words = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("img", "progress"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "progress":
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(self.words)


def read(shown) -> Reader:
    """What is shown, which holds nothing that a browser obeys or hides."""
    html = shown._repr_html_()
    reader = Reader(html)
    tags = {tag for tag, _ in reader.tags}
    assert tags <= {"div", "table", "tr", "td", "th", "b", "p", "img", "span"}
    assert {name for _, attributes in reader.tags for name in attributes} <= {"style", "src", "alt"}
    assert not re.search("[\x00-\x1f\u202e]", html)
    assert all(
        attributes["src"].startswith("data:image/png;base64,") for tag, attributes in reader.tags if tag == "img"
    )
    return reader


def picture_of(reader: Reader) -> np.ndarray:
    (src,) = [attributes["src"] for tag, attributes in reader.tags if tag == "img"]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(src.partition(",")[2]))))


def put_volume_mask(path: Path, values, **other) -> Path:
    return put_mask(path, values, grid=AXIAL, **other)


def test_a_scene_is_shown_with_the_area_of_each_class(tmp_path):
    path = put_mask(tmp_path / "scene_mask.tif", labels())
    shown = read(MaskFile(path))
    for area in areas(path):
        assert f"{area.area / 1e6:.4g}" in shown.words
        assert f"{area.share:.1%}" in shown.words
    assert "km²" in shown.words
    picture = picture_of(shown)[::2, ::2]
    assert picture.shape[:2] == (90, 120), "each cell is two pixels wide"
    colors = np.zeros((256, 3), np.uint8)
    for entry in CLASSES:
        colors[entry.value] = entry.color
    seen = labels() != 255
    assert (picture[seen][:, :3] == colors[labels()[seen]]).all()
    assert (picture[~seen][:, 3] == 0).all(), "nodata is transparent"


def test_a_volume_is_shown_by_the_slice_with_the_most(tmp_path):
    values = np.zeros(AXIAL.shape, np.uint8)
    values[2, :10] = 1
    values[4, :20, :15] = 2
    values[5, 5, 5] = 255
    path = put_volume_mask(
        tmp_path / "scan_mask.nii.gz", values, classes=(LabelClass(0, "background", (0, 0, 0)), *CLASSES[1:])
    )
    shown = read(MaskFile(path))
    assert "slice 2, from 0" in shown.text or "slice 4, from 0" in shown.text
    for one in measure(path):
        assert f"{one.ml:.4g}" in shown.words
    assert "ml" in shown.words


def test_names_are_shown_as_they_are(tmp_path):
    path = put_volume_mask(tmp_path / f"{EVIL_NAME}.nii.gz", np.ones(AXIAL.shape, np.uint8))
    assert "<script>alert(1)" in read(MaskFile(path)).text, "as text"


def test_a_large_scene_is_estimated_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(mask_file, "_COUNTED", 1000)
    monkeypatch.setattr(mask_file, "_ESTIMATED", 1000)
    path = put_mask(tmp_path / "scene_mask.tif", np.kron(labels(), np.ones((8, 8), np.uint8)))
    shown = read(MaskFile(path))
    assert "estimated from one pixel in 32 x 32" in shown.text
    exact = {area.name: area.share for area in areas(path)}
    assert f"{exact['ice']:.0%}"[:-1] in "".join(shown.words)
    assert picture_of(shown).shape[:2] <= (256, 256)


@pytest.mark.parametrize("suffix", ["tif", "zarr"])
def test_what_is_shown_is_bounded(tmp_path, suffix):
    """Noise of 300 classes, which no picture packs."""
    noise = np.random.default_rng(0).integers(0, 300, (1200, 1000)).astype(np.uint16)
    classes = tuple(LabelClass(value, f"class {value}", (value % 256, 1, 2)) for value in range(300))
    path = put_mask(tmp_path / f"m.{suffix}", noise, classes=classes, nodata=65535)
    tracemalloc.start()
    html = MaskFile(path)._repr_html_()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(html) < 500_000
    assert most < 100 * 2**20
    assert "and 284 more" in html


@pytest.mark.parametrize("suffix", ["tif", "nii.gz", "zarr"])
def test_a_file_that_cannot_be_shown_says_why(tmp_path, suffix):
    missing = read(MaskFile(tmp_path / f"{EVIL_NAME}.{suffix}")).text
    assert "cannot be shown" in missing
    assert "there is no such file" in missing
    damaged = tmp_path / f"damaged.{suffix}"
    damaged.write_bytes(b"no mask" * 100)
    assert "cannot be shown" in read(MaskFile(damaged)).text


def test_an_image_and_an_empty_mask_say_what_they_are(tmp_path):
    image = put_mask(tmp_path / "m.tif", labels())
    (tmp_path / "m.tif").rename(tmp_path / "n.tif")
    assert "cannot be shown" in read(MaskFile(image)).text
    empty = put_mask(tmp_path / "empty.tif", np.full((20, 30), 255, np.uint8))
    assert "nothing was observed" in read(MaskFile(empty)).text


def test_a_mask_that_was_cut_off_says_so(tmp_path):
    path = put_mask(tmp_path / "m.tif", np.random.default_rng(1).integers(0, 3, (900, 700)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:-50_000])
    assert "cannot be shown" in read(MaskFile(path)).text
