"""Tiles, values and areas of scenes are those of the files, cell by cell."""

from __future__ import annotations

import io
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from PIL import Image

from pipeline.errors import InputError
from pipeline.viewer.layers import open_layers
from pipeline.viewer.reader import TILE
from pipeline.viewer.scene import SceneView
from tests.support.inputs import pixels, put_scene
from tests.support.viewer import NODATA, TABLE, labels_of, put_image_and_mask

SHAPE = (700, 900)


@pytest.fixture(scope="module", params=[".tif", ".zarr"])
def files(request, tmp_path_factory):
    """A scene in degrees, and a mask of it as GeoTIFF and as Zarr."""
    return put_image_and_mask(tmp_path_factory.mktemp("scene"), SHAPE, request.param)


@pytest.fixture(scope="module")
def view(files):
    with viewed(*files) as view:
        yield view


@contextmanager
def viewed(*files):
    view = SceneView(open_layers([str(file) for file in files]))
    try:
        yield view
    finally:
        view.close()


def picture(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def values_of():
    return np.stack([pixels(SHAPE, seed) for seed in range(3)])


def test_tiles_at_full_size_have_the_cells_of_the_file(view):
    whole = np.zeros((3 * TILE, 4 * TILE, 4), np.uint8)
    for row in range(3):
        for column in range(4):
            at = slice(row * TILE, (row + 1) * TILE), slice(column * TILE, (column + 1) * TILE)
            whole[at] = picture(view.tile(0, 0, row, column, set()))
    np.testing.assert_array_equal(whole[:700, :900, :3], values_of().transpose(1, 2, 0))
    assert (whole[:700, :900, 3] == 255).all()
    assert not whole[700:].any()
    assert not whole[:, 900:].any()


def test_a_mask_has_the_colors_of_its_classes_but_for_those_that_are_hidden(view):
    labels = labels_of(values_of())[:TILE, :TILE]
    found = picture(view.tile(1, 0, 0, 0, {0, 3}))
    for entry in TABLE:
        cells = found[labels == entry.value]
        assert (cells[:, 3] == (0 if entry.value in (0, 3) else 255)).all()
        assert (cells[:, :3][cells[:, 3] > 0] == entry.color).all()
    assert (found[labels == NODATA][:, 3] == 0).all()


def test_lower_levels_show_the_whole_scene(view):
    top = view.info()["levels"] - 1
    assert top == 2
    found = picture(view.tile(1, top, 0, 0, set()))
    assert (found[:175, :225, 3] > 0).mean() > 0.98, "all but nodata"
    assert not found[175:].any()
    assert not found[:, 225:].any()


@pytest.mark.parametrize("cell", [(0, 0), (10, 40), (350, 450), (699, 899)])
def test_the_value_of_a_cell_is_that_of_the_file(view, files, cell):
    row, column = cell
    found = view.at(row, column)
    assert found["values"][0]["values"] == values_of()[:, row, column].tolist()
    label = int(labels_of(values_of())[cell])
    names = {entry.value: entry.name for entry in TABLE}
    assert found["values"][1] == {"values": [label], "observed": label != NODATA, "class": names.get(label)}
    with rasterio.open(files[0]) as dataset:
        assert found["world"] == pytest.approx(dataset.xy(row, column), abs=1e-12)
    assert found["lonlat"] == pytest.approx(found["world"], abs=1e-9)


def test_areas_on_the_ground_are_geodesic(view, files):
    """The vertices are the corners of cells; sides are straight in degrees, so the oracle gets points along them."""
    ring = [(100, 50), (800, 120), (700, 650), (150, 500)]
    found = view.areas(ring)
    with rasterio.open(files[0]) as dataset:
        ends = [*ring, ring[0]]
        dense = [
            (a + (c - a) * part / 200, b + (d - b) * part / 200)
            for (a, b), (c, d) in pairwise(ends)
            for part in range(200)
        ]
        lons, lats = zip(*(dataset.transform @ point for point in dense), strict=True)
    expected = abs(pyproj.Geod(ellps="WGS84").polygon_area_perimeter(lons, lats)[0])
    assert found["unit"] == "m²"
    assert found["area"] == pytest.approx(expected, rel=1e-4)
    shares = {each["value"]: each["share"] for each in found["masks"][0]["shares"]}
    assert sum(shares.values()) == pytest.approx(1)
    assert NODATA not in shares


def test_shares_within_an_outline_are_counted(view):
    (mask,) = view.areas([(100, 50), (300, 50), (300, 250), (100, 250)])["masks"]
    labels = labels_of(values_of())[50:250, 100:300]
    values, counts = np.unique(labels, return_counts=True)
    assert mask["step"] == 1
    assert [(each["value"], each["share"]) for each in mask["shares"]] == [
        (value, pytest.approx(count / labels.size)) for value, count in zip(values, counts, strict=True)
    ]


def test_an_area_without_a_place_is_in_pixels(tmp_path):
    with viewed(put_scene(tmp_path / "plain.tif", pixels((1, 60, 80)), crs=None, transform=None)) as view:
        found = view.areas([(0, 0), (10, 0), (10, 20), (0, 20)])
        assert found == {"area": 200, "unit": "pixels", "masks": []}
        assert view.at(3, 4)["world"] is None
        assert view.info()["north"] is None


TURNED = Affine.translation(500000, 4100000) @ Affine.rotation(30) @ Affine.scale(10, -10)
"""Its rows go up to the left: north is 30 degrees to the right."""


@pytest.mark.parametrize(("transform", "north"), [(TURNED, 30), (Affine(10, 0, 500000, 0, 10, 4100000), 180)])
def test_north_points_where_it_is(tmp_path, transform, north):
    with viewed(put_scene(tmp_path / "scene.tif", pixels((1, 60, 80)), transform=transform)) as view:
        assert abs(view.info()["north"]) == pytest.approx(north, abs=0.05)


def test_a_damaged_part_is_named_and_the_rest_shown(tmp_path):
    image = put_scene(
        tmp_path / "scene.tif", pixels((1, 512, 512)), tiled=True, compress="deflate", blockxsize=256, blockysize=256
    )
    content = bytearray(image.read_bytes())
    with rasterio.open(image) as dataset:
        start = int(dataset.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
    content[start : start + 2000] = bytes(2000)
    image.write_bytes(content)
    with viewed(image) as view:
        assert view.tile(0, 0, 0, 0, set())
        with pytest.raises(InputError, match=r"scene.tif, rows 256 to 512: GDAL cannot read it"):
            view.tile(0, 0, 1, 1, set())
