"""An area of interest: only its cells are read, predicted and labelled, whatever system it is named in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.features import geometry_mask
from rasterio.warp import transform_bounds, transform_geom
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import InputError, OutputError, RequestError
from pipeline.geometry import Box, Region
from pipeline.io.raster.clipped import ClippedSource, cells_of
from pipeline.io.raster.source import RasterSource
from pipeline.jobs.aoi import read_aoi
from pipeline.jobs.job import Job, Resources
from pipeline.runs.prepare import prepare
from pipeline.runs.segment import segment
from tests.support.fakes import ArraySource
from tests.support.inputs import labels_of, pixels, put_volume
from tests.support.rasters import put

WHERE = Affine(10, 0, 500_000, 0, -10, 5_600_000)
SHAPE = (80, 60)
RING = ((5.2, 3.0), (40.0, 8.5), (33.3, 60.0), (12.0, 71.0), (5.2, 3.0))
HOLE = ((15.0, 20.0), (25.0, 20.0), (25.0, 30.0), (15.0, 30.0), (15.0, 20.0))
FAR = ((50.0, 70.0), (58.0, 70.0), (58.0, 78.0), (50.0, 78.0), (50.0, 70.0))
REGION = Region(((RING, HOLE), (FAR,)))


def expected(region: Region) -> np.ndarray:
    shapes = [{"type": "Polygon", "coordinates": rings} for rings in region.polygons]
    return ~geometry_mask(shapes, SHAPE, Affine.identity())


@st.composite
def boxes(draw):
    edges = [sorted(draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in SHAPE]
    return Box(*zip(*edges, strict=True))


@given(boxes())
def test_any_box_has_the_region_of_the_whole_and_nothing_else_is_read(box):
    values = np.arange(1, 1 + 2 * SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(2, *SHAPE)
    observed = pixels((1, *SHAPE))[0] > 0
    source = ArraySource(values, observed)
    found = ClippedSource(source, REGION).read(box)
    seen = (expected(REGION) & observed)[box.slices]
    np.testing.assert_array_equal(seen, True if found.valid is None else found.valid)
    np.testing.assert_array_equal(found.values, np.where(seen, values[(slice(None), *box.slices)], 0))
    reach = [Box((3, 5), (71, 40)), Box((70, 50), (78, 58)), Box((3, 5), (78, 58))]
    assert all(any(part.contains(read) for part in reach) for read in source.reads)


@pytest.fixture
def scene(tmp_path):
    return put(tmp_path / "scene.tif", pixels((2, *SHAPE)), transform=WHERE, crs="EPSG:32632")


def polygons_file(path: Path, crs: str) -> Path:
    """The region as a file in another system."""
    shapes = [
        {"type": "Polygon", "coordinates": [[WHERE @ corner for corner in ring] for ring in rings]}
        for rings in REGION.polygons
    ]
    features = [
        {"type": "Feature", "properties": {}, "geometry": transform_geom("EPSG:32632", crs, shape)} for shape in shapes
    ]
    named = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:{crs.replace(':', '::')}"}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": named, "features": features}))
    return path


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326", "EPSG:3857"])
def test_polygons_in_any_system_name_the_same_cells(crs, scene, tmp_path):
    grid = RasterSource(scene).grid
    region = read_aoi(str(polygons_file(tmp_path / "area.geojson", crs)), grid)
    np.testing.assert_array_equal(cells_of(region, Box.whole(SHAPE)), expected(REGION))


def test_a_box_is_in_degrees_or_in_the_system_that_it_says(scene):
    grid = RasterSource(scene).grid
    bounds = 500_100, 5_599_500, 500_300, 5_599_800
    cells = np.zeros(SHAPE, bool)
    cells[20:50, 10:30] = True
    named = read_aoi(",".join(map(str, bounds)) + ", EPSG:32632", grid)
    np.testing.assert_array_equal(cells_of(named, Box.whole(SHAPE)), cells)
    degrees = transform_bounds("EPSG:32632", "EPSG:4326", *bounds)
    found = cells_of(read_aoi(",".join(map(str, degrees)), grid), Box.whole(SHAPE))
    assert (found & cells).sum() >= cells.sum() * 0.9
    assert found.sum() == pytest.approx(cells.sum(), rel=0.15), "its sides lie askew in the zone"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("area.gpkg", "there is no such file; give west,south,east,north"),
        ("1,2,3", "there is no such file"),
        ("10,50,9,51", "has no area"),
        ("0,0,1,1", "does not overlap the scene"),
        ("0,0,1,1,EPSG:99999", "is not a CRS"),
    ],
)
def test_what_is_no_area_of_the_scene_is_refused(words, said, scene):
    with pytest.raises(RequestError, match=said):
        read_aoi(words, RasterSource(scene).grid)


def test_files_without_polygons_are_named(scene, tmp_path):
    (tmp_path / "points.geojson").write_text(
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, '
        '"geometry": {"type": "Point", "coordinates": [9, 50]}}]}'
    )
    (tmp_path / "junk.gpkg").write_bytes(b"no vectors")
    grid = RasterSource(scene).grid
    with pytest.raises(InputError, match="holds no polygons, but Point"):
        read_aoi(str(tmp_path / "points.geojson"), grid)
    with pytest.raises(InputError, match="cannot be read as vectors"):
        read_aoi(str(tmp_path / "junk.gpkg"), grid)


def test_a_mask_has_labels_in_its_area_only_and_another_area_is_another_run(models, scene, tmp_path):
    area = polygons_file(tmp_path / "area.geojson", "EPSG:4326")
    words = ["run", "--input", str(scene), "--model", str(models / "scene"), "--output", str(tmp_path / "mask.tif")]
    ended = CliRunner().invoke(app, [*words, "--aoi", str(area), "--no-prefect"])
    assert ended.exit_code == 0, ended.output
    labels = labels_of(tmp_path / "mask.tif")
    np.testing.assert_array_equal(labels != 255, expected(REGION))
    with rasterio.open(tmp_path / "mask.tif") as mask:
        assert mask.transform == WHERE
    job = Job(str(scene), tmp_path / "mask.tif", str(models / "scene"), aoi=str(area))
    assert segment(job).status == "skipped"
    with pytest.raises(OutputError, match="aoi"):
        segment(Job(str(scene), tmp_path / "mask.tif", str(models / "scene")))


def test_an_area_needs_a_scene_with_a_place(models, tmp_path):
    nowhere = put(tmp_path / "n.tif", pixels((2, 9, 9)))
    with pytest.raises(RequestError, match="the scene has no transform"):
        prepare(Job(str(nowhere), model=str(models / "scene"), aoi="0,0,1,1"), Resources())
    scan = put_volume(tmp_path / "v.nii.gz", pixels((9, 9, 9)).astype(np.int16), np.eye(4))
    with pytest.raises(RequestError, match="--aoi is for scenes"):
        prepare(Job(str(scan), model=str(models / "volume"), aoi="0,0,1,1"), Resources())


def test_a_job_file_names_an_area_beside_it(models, scene, tmp_path):
    polygons_file(tmp_path / "area.geojson", "EPSG:4326")
    (tmp_path / "job.toml").write_text(
        f'input = "scene.tif"\nmodel = "{models / "scene"}"\noutput = "out.tif"\naoi = "area.geojson"\n'
    )
    ended = CliRunner().invoke(app, ["run", "--config", str(tmp_path / "job.toml"), "--no-prefect"])
    assert ended.exit_code == 0, ended.output
    np.testing.assert_array_equal(labels_of(tmp_path / "out.tif") != 255, expected(REGION))


@pytest.mark.parametrize("words", ["-10,80,10,95", "-180,-100,180,100"])
def test_an_outline_beyond_the_poles_is_refused_in_words(words, tmp_path):
    polar = put(
        tmp_path / "polar.tif", pixels((1, 40, 40)), transform=Affine(1e4, 0, -2e5, 0, -1e4, 2e5), crs="EPSG:3995"
    )
    with pytest.raises(RequestError, match="has corners that cannot be projected"):
        read_aoi(words, RasterSource(polar).grid)
