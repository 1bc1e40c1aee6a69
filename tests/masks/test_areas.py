"""Areas of classes: cells are counted exactly, and measured on the ground."""

from __future__ import annotations

import csv
import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from typer.testing import CliRunner

from pipeline.classes import LabelClass
from pipeline.cli import app
from pipeline.errors import InputError, RequestError
from pipeline.geometry import Box, Grid
from pipeline.io.raster import write_cog
from pipeline.io.raster.source import RasterSource
from pipeline.masks.areas import areas, ground_of
from tests.support.inputs import put_volume
from tests.support.rasters import put


def cell_areas(grid, box):
    return ground_of(grid, box).of(box)


CLASSES = (LabelClass(0, "water", (0, 0, 200)), LabelClass(1, "land", (0, 200, 0)), LabelClass(2, "ice", (9, 9, 9)))
ZONE = Affine(10, 0, 500_000, 0, -10, 5_600_000)


def mask_of(path, labels, **place):
    grid = RasterSource(put(path.with_suffix(".place.tif"), labels[None], **place)).grid
    write_cog(path, grid, iter([labels]), labels.dtype, nodata=255, classes=CLASSES, tags={})
    return path


@pytest.fixture
def labels():
    drawn = np.random.default_rng(0).integers(0, 2, (300, 200)).astype(np.uint8)
    drawn[:, 150:] = 255
    return drawn


@pytest.fixture
def mask(tmp_path, labels):
    return mask_of(tmp_path / "mask.tif", labels, transform=ZONE, crs="EPSG:32632")


def test_each_class_has_its_cells_and_nodata_none(mask, labels):
    found = {area.name: area for area in areas(mask)}
    assert list(found) == ["water", "land", "ice"], "absent classes are told too"
    for value, name in enumerate(["water", "land", "ice"]):
        assert found[name].cells == (labels == value).sum()
        # On a zone's central meridian a metre of the map is 1 / 0.9996 m on the ground.
        assert found[name].area == pytest.approx(found[name].cells * 100 / 0.9996**2, rel=1e-4)
    assert sum(area.share for area in found.values()) == pytest.approx(1)


def feature(name, left, top, right, bottom):
    ring = [ZONE @ corner for corner in [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]]
    return {
        "type": "Feature",
        "properties": {"district": name},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


@pytest.fixture
def zones(tmp_path):
    features = [
        feature("north", 0, 0, 200, 100),
        feature("middle", 20, 50, 120, 250),  # overlaps the north
        feature("north", 0, 290, 10, 300),  # a second part
        feature("elsewhere", 1000, 0, 1100, 100),
    ]
    named = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
    path = tmp_path / "zones.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": named, "features": features}))
    return path


def test_zones_may_overlap_and_have_many_parts(mask, labels, zones):
    found = {(area.zone, area.name): area.cells for area in areas(mask, zones, "district")}
    north = np.zeros(labels.shape, bool)
    north[:100] = north[290:, :10] = True
    middle = np.zeros(labels.shape, bool)
    middle[50:250, 20:120] = True
    for zone, cells in {"north": north, "middle": middle, "elsewhere": 0 * north}.items():
        for value, name in enumerate(["water", "land"]):
            assert found[zone, name] == ((labels == value) & cells).sum()


def test_the_command_prints_and_writes_the_same(mask, zones, tmp_path):
    words = ["areas", str(mask), "--zones", str(zones), "--name", "district", "--output", str(tmp_path / "a.csv")]
    ended = CliRunner().invoke(app, [*words, "--json"])
    assert ended.exit_code == 0, ended.output
    items = json.loads(ended.stdout)["items"]
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["zone"], r["name"], int(r["cells"])) for r in rows] == [
        (i["zone"], i["name"], i["cells"]) for i in items
    ]
    table = CliRunner().invoke(app, words)
    assert "0 water" in table.stdout


def test_what_is_no_mask_or_has_no_such_column_is_named(mask, zones, tmp_path):
    with pytest.raises(RequestError, match="has no column county; it has district"):
        areas(mask, zones, "county")
    scan = put_volume(tmp_path / "v.nii.gz", np.zeros((5, 5, 5), np.uint8), np.eye(4))
    with pytest.raises(InputError, match="is not a mask of a scene, but 1 channels of uint8 on axes z, y, x"):
        areas(scan)


def zone_area(south, north, degrees):
    """The area of a zone of the ellipsoid WGS84, by its integral."""
    a, b = 6378137.0, 6356752.314245
    e = np.sqrt(1 - (b / a) ** 2)

    def up_to(latitude):
        sine = np.sin(np.radians(latitude))
        return np.pi * b**2 * (sine / (1 - (e * sine) ** 2) + np.arctanh(e * sine) / e)

    return (up_to(north) - up_to(south)) * degrees / 360


@pytest.mark.parametrize(("dtype", "zoned"), [(np.uint8, False), (np.uint8, True), (np.uint16, False)])
def test_sums_have_the_same_digits_however_many_cells_are_added_at_a_time(tmp_path, monkeypatch, zones, dtype, zoned):
    """As if all rows of a group were added at once."""
    labels = np.random.default_rng(0).integers(0, 3, (1500, 130)).astype(dtype)
    mask = mask_of(tmp_path / "mask.tif", labels, transform=ZONE, crs="EPSG:32632")
    asked = (zones, "district") if zoned else (None, None)
    found = areas(mask, *asked)
    if not zoned:
        sums = np.zeros(3)
        for top in (0, 1024):
            part = labels[top : top + 1024]
            grid = RasterSource(mask).grid
            ground = cell_areas(grid, Box((top, 0), (top + len(part), 130)))
            sums += np.bincount(part.ravel(), ground.ravel(), minlength=3)
        assert [area.area for area in found] == sums.tolist()
    for at_once in (7777, 1 << 24):
        monkeypatch.setattr("pipeline.masks.areas._AT_ONCE", at_once)
        assert areas(mask, *asked) == found


def test_memory_does_not_grow_with_the_width_of_a_mask(tmp_path):
    labels = np.zeros((1024, 6000), np.uint8)
    mask = mask_of(tmp_path / "mask.tif", labels, transform=ZONE, crs="EPSG:32632")
    tracemalloc.start()
    (water, *_) = areas(mask)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert water.cells == labels.size
    assert peak < labels.nbytes + 45e6, "the cells that are read, and the areas of a million of them at a time"


@pytest.mark.parametrize(("south", "west"), [(0, 10), (45, -120), (70, 179 - 8), (-60, 0)])
def test_degrees_are_measured_on_the_ellipsoid(tmp_path, south, west):
    path = put(
        tmp_path / "m.tif",
        np.zeros((1, 128, 256), np.uint8),
        transform=Affine(8 / 256, 0, west, 0, -4 / 128, south + 4),
        crs="EPSG:4326",
    )
    grid = RasterSource(path).grid
    found = cell_areas(grid, Box.whole(grid.shape))
    assert found.sum() == pytest.approx(zone_area(south, south + 4, 8), rel=1e-4)
    for row in (0, 64, 127):
        north = south + 4 - row * 4 / 128
        assert found[row].mean() == pytest.approx(zone_area(north - 4 / 128, north, 8 / 256), rel=1e-3)


@given(st.integers(0, 299), st.integers(1, 300), st.integers(0, 199), st.integers(1, 200))
def test_a_cell_has_one_area_whatever_box_it_is_asked_in(top, height, left, width):
    grid = Grid(
        (300, 200), ((0.0, 10.0, 500_005.0), (-10.0, 0.0, 5_599_995.0), (0.0, 0.0, 1.0)), ("y", "x"), "EPSG:32632"
    )
    box = Box((top, left), (min(300, top + height), min(200, left + width)))
    np.testing.assert_allclose(cell_areas(grid, box), cell_areas(grid, Box.whole((300, 200)))[box.slices], rtol=1e-5)


def test_without_a_place_areas_are_pixels_and_a_system_of_a_site_has_its_meters():
    grid = Grid((4, 4), ((0.0, 2.0, 0.0), (-3.0, 0.0, 0.0), (0.0, 0.0, 1.0)), ("y", "x"))
    np.testing.assert_array_equal(cell_areas(grid, Box((1, 1), (3, 4))), np.ones((2, 3)))
    site = replace(grid, crs='LOCAL_CS["site grid",UNIT["foot",0.3048]]')
    np.testing.assert_allclose(cell_areas(site, Box((1, 1), (3, 4))), np.full((2, 3), 6 * 0.3048**2))


CORNERS = [GroundControlPoint(r, c, 10 + 1e-4 * c, 60 - 5e-5 * r) for r in (0, 300) for c in (0, 200)]
AREAS = {
    "points": ({"gcps": CORNERS, "crs": "EPSG:4326"}, "square meters", 5.58 * 5.57),
    "feet": ({"transform": Affine(1, 0, 980_000, 0, -1, 200_000), "crs": "EPSG:2263"}, "square meters", 0.3048006**2),
    "transform alone": ({"transform": ZONE}, "pixels", 1),
    "nothing": ({}, "pixels", 1),
}


@pytest.mark.parametrize("place", AREAS)
def test_areas_name_their_unit(place, labels, tmp_path):
    where, unit, each = AREAS[place]
    mask = mask_of(tmp_path / "mask.tif", labels, **where)
    found = areas(mask)
    assert {area.unit for area in found} == {unit}
    assert sum(area.area for area in found) == pytest.approx(each * sum(area.cells for area in found), rel=2e-3)
    words = ["areas", str(mask), "--output", str(tmp_path / "a.csv")]
    shown = CliRunner().invoke(app, words).stdout
    assert f"area, {unit}" in shown
    assert {row["unit"] for row in csv.DictReader((tmp_path / "a.csv").read_text().splitlines())} == {unit}
    told = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)["items"]
    assert {item["unit"] for item in told} == {unit}
