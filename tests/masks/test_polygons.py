"""Masks as polygons: the same for any band, exactly on the corners of cells, and read by others as they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyogrio
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyarrow import parquet
from rasterio.control import GroundControlPoint
from rasterio.features import rasterize
from typer.testing import CliRunner

from pipeline.classes import LabelClass
from pipeline.cli import app
from pipeline.errors import RequestError
from pipeline.geometry import Box
from pipeline.io.raster import write_cog
from pipeline.io.raster.source import RasterSource
from pipeline.masks.areas import ground_of
from pipeline.masks.export import export
from pipeline.masks.polygons import PolygonOptions, trace_polygons, write_vectors
from tests.support.fakes import ArraySource
from tests.support.rasters import PLACES, put

NODATA = 255
MASKS = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, NODATA]))
CLASSES = (LabelClass(0, "water", (0, 0, 200)), LabelClass(1, "land", (0, 200, 0)))
FORMATS = [".gpkg", ".parquet", ".geojson"]


def found(labels, rows) -> list[tuple[int, object]]:
    source = ArraySource(labels[None])
    return [pair for patches in trace_polygons(source, NODATA, rows) for pair in zip(patches.values, patches.shapes)]  # noqa: B905


@given(MASKS, st.integers(1, 9))
def test_polygons_cover_their_cells_and_do_not_depend_on_bands(labels, rows):
    polygons = found(labels, rows)
    assert all(shape.is_valid for _, shape in polygons)
    assert sum(shape.area for _, shape in polygons) == (labels != NODATA).sum()
    back = rasterize([(shape, value + 1) for value, shape in polygons], labels.shape) if polygons else 0 * labels
    np.testing.assert_array_equal(back, np.where(labels == NODATA, 0, labels + 1))
    whole = {(value, shape.wkt) for value, shape in found(labels, 100)}
    assert {(value, shape.wkt) for value, shape in polygons} == whole


def test_a_patch_with_a_hole_is_one_polygon_with_a_hole():
    labels = np.zeros((7, 7), np.uint8)
    labels[2:5, 2:5] = 1
    labels[3, 3] = NODATA
    (_, around), (_, ring) = sorted(found(labels, 2), key=lambda pair: pair[0])
    assert around.equals(shapely.box(0, 0, 7, 7) - shapely.box(2, 2, 5, 5))
    assert ring.equals(shapely.box(2, 2, 5, 5) - shapely.box(3, 3, 4, 4))


def mask_at(place: str, labels, path: Path) -> RasterSource:
    return RasterSource(put(path, labels[None], nodata=NODATA, **PLACES[place]))


def listed(polygons, where: Affine) -> list[tuple[float, ...]]:
    """Value, and in cells the area and the middle of each, in one order."""
    there = [
        (value, shapely.transform(shape, lambda p: np.column_stack(~where @ (p[:, 0], p[:, 1]))))
        for value, shape in polygons
    ]
    return sorted(
        tuple(float(f"{number:.4f}") + 0.0 for number in (value, shape.area, shape.centroid.x, shape.centroid.y))
        for value, shape in there
    )


@pytest.mark.parametrize("place", ["north-up", "south-up", "rotated", "sheared", "degrees", "nowhere", "point"])
def test_corners_lie_where_gdal_has_them(place, tmp_path):
    labels = np.random.default_rng(0).integers(0, 3, (40, 30)).astype(np.uint8)
    source = mask_at(place, labels, tmp_path / "mask.tif")
    write_vectors(source, tmp_path / "mask.parquet", NODATA, CLASSES)
    read = parquet.read_table(tmp_path / "mask.parquet")
    with rasterio.open(tmp_path / "mask.tif") as dataset:
        where = Affine(*dataset.transform[:6])
        crs = dataset.crs
    expected = rasterio.features.shapes(labels, connectivity=4, transform=where)
    theirs = [(int(value), shapely.geometry.shape(shape)) for shape, value in expected]
    ours = zip(read["value"].to_pylist(), shapely.from_wkb(read["geometry"].to_pylist()), strict=True)
    np.testing.assert_allclose(listed(ours, where), listed(theirs, where), atol=2e-4)
    about = json.loads(read.schema.metadata[b"geo"])["columns"]["geometry"]
    assert (about["crs"] is None) == (crs is None)
    assert read["cells"].to_numpy().sum() == labels.size


@pytest.mark.parametrize("suffix", FORMATS)
def test_others_read_what_is_written(suffix, tmp_path):
    labels = np.zeros((60, 40), np.uint8)
    labels[10:20, 10:20] = 1
    labels[:, 30:] = NODATA
    write_vectors(mask_at("north-up", labels, tmp_path / "m.tif"), tmp_path / f"m{suffix}", NODATA, CLASSES)
    if suffix == ".parquet":
        table = parquet.read_table(tmp_path / "m.parquet").to_pydict()
        shapes = shapely.from_wkb(table["geometry"])
    else:
        about, _, wkb, values = pyogrio.raw.read(tmp_path / f"m{suffix}")
        table, shapes = dict(zip(about["fields"], values, strict=True)), shapely.from_wkb(wkb)
        assert about["crs"] == ("EPSG:32633" if suffix == ".gpkg" else "EPSG:4326")
        assert about["geometry_type"] == "Polygon"
    assert sorted(zip(table["value"], table["class"], table["cells"], strict=True)) == [
        (0, "water", 1700),
        (1, "land", 100),
    ]
    # A zone's metres are not quite metres on the ground: up to 0.04 % at its middle, on which this scene lies.
    assert sorted(table["area"]) == pytest.approx([100 * 100, 1700 * 100], rel=2e-3)
    if suffix == ".geojson":
        assert all(shape.exterior.is_ccw and -180 <= shape.bounds[0] <= 180 for shape in shapes)
    else:
        assert sorted(shapely.area(shapes)) == pytest.approx([100 * 100, 1700 * 100], rel=1e-12)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_mask_without_patches_is_an_empty_table(suffix, tmp_path):
    source = mask_at("north-up", np.full((5, 5), NODATA, np.uint8), tmp_path / "m.tif")
    write_vectors(source, tmp_path / f"m{suffix}", NODATA, CLASSES)
    if suffix == ".parquet":
        assert parquet.read_table(tmp_path / "m.parquet").num_rows == 0
    else:
        assert pyogrio.read_info(tmp_path / f"m{suffix}")["features"] == 0


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_same_mask_gives_the_same_bytes(suffix, tmp_path):
    labels = np.random.default_rng(0).integers(0, 3, (50, 50)).astype(np.uint8)
    for name in "ab":
        write_vectors(mask_at("degrees", labels, tmp_path / "m.tif"), tmp_path / f"{name}{suffix}", NODATA, CLASSES)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"m.tif", f"a{suffix}", f"b{suffix}"}


def test_small_patches_are_left_out_and_outlines_are_smoothed_after_they_are_whole(tmp_path):
    labels = np.zeros((3000, 4), np.uint8)
    labels[1022:1026, 1:3] = 1  # lies across a band
    labels[5, 1] = 1
    source = mask_at("north-up", labels, tmp_path / "m.tif")
    write_vectors(source, tmp_path / "m.parquet", NODATA, CLASSES, PolygonOptions(simplify=15.0, min_area=700.0))
    table = parquet.read_table(tmp_path / "m.parquet").to_pydict()
    assert sorted(zip(table["value"], table["cells"], strict=True)) == [(0, 11991), (1, 8)]


def test_areas_in_degrees_are_those_of_the_globe(tmp_path):
    labels = np.zeros((90, 360), np.uint8)
    path = put(tmp_path / "m.tif", labels[None], transform=Affine(0.5, 0, -90, 0, -0.5, 45), crs="EPSG:4326")
    write_vectors(RasterSource(path), tmp_path / "m.parquet", NODATA, CLASSES)
    e = np.sqrt(1 - (6356752.314245 / 6378137.0) ** 2)
    sine = np.sin(np.pi / 4)
    zone = np.pi * 6356752.314245**2 * (sine / (1 - (e * sine) ** 2) + np.arctanh(e * sine) / e)  # from the equator
    expected = zone / 2
    assert parquet.read_table(tmp_path / "m.parquet")["area"][0].as_py() == pytest.approx(expected, rel=3e-4)


def test_a_mask_is_exported_by_the_suffix(tmp_path):
    labels = np.zeros((8, 8), np.uint8)
    grid = mask_at("north-up", labels, tmp_path / "place.tif").grid
    mask = tmp_path / "mask.tif"
    write_cog(mask, grid, iter([labels]), labels.dtype, nodata=NODATA, classes=CLASSES, tags={})
    ended = CliRunner().invoke(app, ["export", str(mask), "--output", str(tmp_path / "mask.gpkg"), "--min-area", "9"])
    assert ended.exit_code == 0, ended.output
    assert pyogrio.read_info(tmp_path / "mask.gpkg")["features"] == 1
    with pytest.raises(RequestError, match="--simplify and --min-area are only for vectors"):
        export(mask, tmp_path / "other.tif", simplify=1.0)
    with pytest.raises(RequestError, match=r"simplify -1\.0: must be 0 or more"):
        export(mask, tmp_path / "other.gpkg", simplify=-1.0)


CORNERS = [GroundControlPoint(r, c, 10 + 1e-4 * c, 60 - 5e-5 * r) for r in (0, 60) for c in (0, 40)]


@pytest.mark.parametrize("suffix", FORMATS)
def test_ground_control_points_place_polygons(suffix, tmp_path):
    labels = np.zeros((60, 40), np.uint8)
    labels[10:20, 10:20] = 1
    mask = RasterSource(put(tmp_path / "m.tif", labels[None], nodata=NODATA, gcps=CORNERS, crs="EPSG:4326"))
    write_vectors(mask, tmp_path / f"m{suffix}", NODATA, CLASSES)
    if suffix == ".parquet":
        table = parquet.read_table(tmp_path / "m.parquet")
        values, areas, shapes = (
            table["value"].to_pylist(),
            table["area"],
            shapely.from_wkb(table["geometry"].to_pylist()),
        )
    else:
        about, _, wkb, (values, _, _, areas) = pyogrio.raw.read(tmp_path / f"m{suffix}")
        assert about["crs"] == "EPSG:4326"
        shapes = shapely.from_wkb(wkb)
    inner = shapes[list(values).index(1)]
    np.testing.assert_allclose(inner.bounds, (10.001, 59.999, 10.002, 59.9995), atol=1e-9)
    assert float(areas[list(values).index(1)].as_py() if suffix == ".parquet" else areas[list(values).index(1)]) == (
        pytest.approx(100 * 5.57 * 5.58, rel=2e-3)
    )


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".GeoJSON"])
@pytest.mark.parametrize(
    "place", ["nowhere", "transform alone", "system alone", "coefficients", "ground control points"]
)
def test_a_mask_without_a_place_is_refused_where_numbers_of_pixels_would_be_taken_for_one(place, suffix, tmp_path):
    mask = mask_at(place, np.zeros((8, 9), np.uint8), tmp_path / "m.tif")
    with pytest.raises(
        RequestError, match=r"needs a CRS, and the mask has no place on the Earth; set the CRS with `gd"
    ):
        write_vectors(mask, tmp_path / f"m{suffix}", NODATA, CLASSES)
    assert {path.name for path in tmp_path.iterdir()} == {"m.tif"}
    write_vectors(mask, tmp_path / "m.parquet", NODATA, CLASSES)
    with pytest.raises(RequestError, match=r"--min-area 5: is in square meters, and the mask has no CRS"):
        write_vectors(mask, tmp_path / "n.parquet", NODATA, CLASSES, PolygonOptions(min_area=5))


def test_a_grid_of_a_site_is_no_longitude(tmp_path):
    mask = mask_at("local", np.zeros((8, 9), np.uint8), tmp_path / "m.tif")
    with pytest.raises(RequestError, match="no place on the Earth"):
        write_vectors(mask, tmp_path / "m.geojson", NODATA, CLASSES)
    write_vectors(mask, tmp_path / "m.gpkg", NODATA, CLASSES)
    assert pyogrio.raw.read(tmp_path / "m.gpkg")[3][3].tolist() == [7200.0]


ACROSS = {
    "degrees": {"transform": Affine(0.02, 0, 179.8, 0, -0.02, -16), "crs": "EPSG:4326"},
    "0 to 360": {"transform": Affine(9, 0, 0, 0, -9, 90), "crs": "EPSG:4326"},
    "UTM": {"transform": Affine(2000, 0, 158_000, 0, -2000, 8_228_000), "crs": "EPSG:32701"},
    "pole": {"transform": Affine(1e5, 0, -2e6, 0, -1e5, 1.5e6), "crs": "EPSG:3413"},
    "globe": {"transform": Affine(9, 0, -180, 0, -9, 90), "crs": "EPSG:4326"},
}


@pytest.mark.parametrize("place", ACROSS)
def test_polygons_across_180_degrees_are_cut_there(place, tmp_path):
    labels = np.zeros((20, 40), np.uint8)
    labels[3:17, 2:38], labels[6:14, 6:34], labels[8:12, 10:18] = 1, 0, NODATA
    source = RasterSource(put(tmp_path / "m.tif", labels[None], nodata=NODATA, **ACROSS[place]))
    write_vectors(source, tmp_path / "m.geojson", NODATA, CLASSES)
    features = json.loads((tmp_path / "m.geojson").read_text())["features"]
    shapes = [shapely.geometry.shape(one["geometry"]) for one in features]
    assert all(shape.is_valid and -180 <= shape.bounds[0] < shape.bounds[2] <= 180 for shape in shapes)
    assert any(shape.geom_type == "MultiPolygon" for shape in shapes) == (place != "globe")
    equal_area = pyproj.Transformer.from_crs("OGC:CRS84", "EPSG:6933", always_xy=True).transform
    flat = [shapely.transform(shapely.segmentize(shape, 0.1), equal_area, interleaved=False) for shape in shapes]
    expected = ground_of(source.grid, Box.whole((20, 40))).of(Box.whole((20, 40)))
    for value in (0, 1):
        areas = [
            one.area for one, feature in zip(flat, features, strict=True) if feature["properties"]["value"] == value
        ]
        assert sum(areas) == pytest.approx(expected[labels == value].sum(), rel=0.02) or place in ("0 to 360", "globe")
    overlaps = shapely.union_all(flat).area / sum(one.area for one in flat)
    assert overlaps == pytest.approx(1, rel=1e-3)


def test_a_volume_has_no_outlines(tmp_path):
    with pytest.raises(RequestError, match="polygons are made from scenes only"):
        write_vectors(ArraySource(np.zeros((1, 2, 3, 4), np.uint8)), tmp_path / "m.gpkg", NODATA, CLASSES)
    assert not list(tmp_path.iterdir())
