"""Chips that are worth a label: where patches disagree most, cut out of image and mask with their place."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform_bounds
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import InputError, OutputError, RequestError
from pipeline.masks.suggest import suggest
from pipeline.training.config import Data
from pipeline.training.items import find_items
from tests.support.pages import labels, put_image, put_layer, put_mask

SHAPE = (90, 120)


@pytest.fixture
def mask(tmp_path):
    """A scene on whose lower right, and a little less at its upper left, patches disagree; a part has no data."""
    path = put_mask(tmp_path / "scene_mask.tif", labels(SHAPE))
    rng = np.random.default_rng(0)
    put_image(tmp_path / "scene.tif", rng.integers(0, 255, (3, *SHAPE)).astype(np.uint8))
    layer = np.full(SHAPE, 0.1)
    layer[64:, 64:96] = 0.9
    layer[:32, :32] = 0.5
    layer[32:64, 32:64] = np.nan
    put_layer(tmp_path / "scene_mask_disagreement.tif", layer)
    return path


def test_the_chips_with_most_disagreement_come_first(mask, tmp_path):
    chips = suggest([mask], tmp_path / "out", size=32, count=3)
    assert [chip.box.start for chip in chips[:2]] == [(64, 64), (0, 0)]
    assert [chip.disagreement for chip in chips[:2]] == pytest.approx([0.9, 0.5], abs=0.01)
    assert chips[0].box.shape == (26, 32), "chips at an edge are smaller"
    with rasterio.open(tmp_path / "scene.tif") as image, rasterio.open(chips[0].image) as chip:
        assert (chip.read() == image.read()[:, 64:90, 64:96]).all()
        assert chip.crs == image.crs
        assert chip.xy(0, 0) == pytest.approx(image.xy(64, 64))
    with rasterio.open(mask) as whole, rasterio.open(chips[0].label) as chip:
        assert (chip.read() == whole.read()[:, 64:90, 64:96]).all()
        assert chip.transform == whole.transform @ whole.transform.translation(64, 64)
        assert chip.colormap(1) == whole.colormap(1)


def test_slivers_come_last_however_odd_they_are(mask, tmp_path):
    layer = np.full(SHAPE, np.nan)
    layer[:32, :32], layer[:, 116:], layer[40:42, 60:62] = 0.2, 0.9, 1.0
    put_layer(tmp_path / "scene_mask_disagreement.tif", layer)
    chips = suggest([mask], tmp_path / "out", size=32, count=9)
    assert [chip.box.start for chip in chips[:2]] == [(0, 0), (0, 96)]
    assert chips[-1].box.start == (32, 32), "four cells of a chip"
    assert [chip.disagreement for chip in chips[:2]] == pytest.approx([0.2, 0.9], abs=0.01)


def test_masks_of_one_name_give_chips_of_their_own(mask, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for path in tmp_path.glob("scene*.tif"):
        shutil.copy(path, other)
    chips = suggest([mask, other / mask.name], tmp_path / "out", size=32, count=4)
    assert len({chip.image for chip in chips}) == 4


def test_a_part_without_data_is_no_chip(mask, tmp_path):
    chips = suggest([mask], tmp_path / "out", size=32, count=100)
    assert len(chips) == 11
    assert (32, 32) not in [chip.box.start for chip in chips]


def test_the_table_is_one_to_train_with_and_the_places_are_those_of_the_chips(mask, tmp_path):
    asked = ["suggest", str(mask), "--out", str(tmp_path / "out"), "--size", "32", "--count", "2", "--json"]
    told = CliRunner().invoke(app, asked)
    assert told.exit_code == 0, told.output
    records = json.loads(told.stdout)["items"]
    assert [record["row"] for record in records] == [64, 0]
    items = find_items(Data(table="chips.csv"), tmp_path / "out")
    assert [item.image for item in items] == [record["image"] for record in records]
    with (tmp_path / "out/chips.csv").open() as file:
        assert [float(row["disagreement"]) for row in csv.DictReader(file)] == pytest.approx([0.9, 0.5], abs=0.01)
    features = json.loads((tmp_path / "out/chips.geojson").read_text())["features"]
    assert [feature["properties"]["rank"] for feature in features] == [1, 2]
    with rasterio.open(records[0]["image"]) as chip:
        bounds = transform_bounds(chip.crs, "OGC:CRS84", *chip.bounds)
    ring = np.array(features[0]["geometry"]["coordinates"][0])
    assert (*ring.min(0), *ring.max(0)) == pytest.approx(bounds, abs=1e-4)


def test_what_is_missing_is_named(mask, tmp_path):
    with pytest.raises(RequestError, match="--size 0: must be at least 1"):
        suggest([mask], tmp_path / "out", size=0)
    suggest([mask], tmp_path / "out", size=64)
    with pytest.raises(OutputError, match=r"chips.csv: is there already; give another --out"):
        suggest([mask], tmp_path / "out", size=64)
    (tmp_path / "scene.tif").unlink()
    with pytest.raises(InputError, match="the image that it was made from is not beside it"):
        suggest([mask], tmp_path / "two")
    (tmp_path / "scene_mask_disagreement.tif").unlink()
    with pytest.raises(InputError, match=r"has no layer scene_mask_disagreement.tif beside it; run it with --layers"):
        suggest([mask], tmp_path / "three")
