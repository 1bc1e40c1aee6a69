"""Where pixels are on the Earth and how large they are there: as PROJ's geodesics and least squares have it."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
from affine import Affine
from hypothesis import example, given
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint

from pipeline.geometry import Grid
from pipeline.geometry.affine import from_transform
from pipeline.io.raster.georeference import grid_at
from pipeline.io.raster.placement import cell_area, ground_size, ground_spacing, placement_of
from pipeline.io.raster.source import RasterSource
from tests.support.rasters import LOCAL, PLACES, ROTATED_POLE, pixels, put

GLOBE = pyproj.Geod(ellps="WGS84")
FOOT = 1200 / 3937
SYSTEMS = {
    "degrees": ("EPSG:4326", (10.0, 60.0), 1e-5),
    "grads": ("EPSG:4807", (3.0, 47.0), 1e-5),
    "US feet": ("EPSG:2263", (-74.0, 40.7), 1.6),
    "feet": ("EPSG:2222", (-110.5, 33.0), 1.6),
    "Web Mercator": ("EPSG:3857", (25.0, 60.0), 1.0),
    "UTM": ("EPSG:32633", (15.0, 50.0), 0.5),
    "far outside of its zone": ("EPSG:32633", (32.0, 50.0), 0.5),
    "polar stereographic": ("EPSG:3413", (-45.0, 60.0), 10.0),
    "kilometers": ("+proj=utm +zone=33 +datum=WGS84 +units=km", (15.0, 50.0), 0.0005),
}


def scene_at(crs, place, size, turn=0.0, shape=(40, 60)) -> Grid:
    x, y = pyproj.Transformer.from_crs("OGC:CRS84", crs, always_xy=True).transform(*place)
    where = Affine.translation(x, y) @ Affine.rotation(turn) @ Affine.scale(size, -2 * size)
    where = where @ Affine.translation(-shape[1] / 2, -shape[0] / 2)
    return grid_at(shape, tuple(where)[:6], crs)


def geodesic(grid: Grid) -> tuple[float, float]:
    """Height and width in meters of the middle pixel, along the ellipsoid."""
    back = pyproj.Transformer.from_crs(grid.crs, "OGC:CRS84", always_xy=True)
    row, column = (length / 2 for length in grid.shape)
    at = np.array([[row, column, 1], [row + 1, column, 1], [row, column + 1, 1]]) @ np.array(grid.affine).T
    longitudes, latitudes = back.transform(at[:, 0], at[:, 1])
    _, _, far = GLOBE.inv(longitudes[[0, 0]], latitudes[[0, 0]], longitudes[1:], latitudes[1:])
    return tuple(far)


@pytest.mark.parametrize("turn", [0.0, 33.0])
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_pixel_is_as_large_as_a_geodesic_says(system, turn):
    grid = scene_at(*SYSTEMS[system], turn)
    assert ground_spacing(grid) == pytest.approx(geodesic(grid), rel=0.01)
    assert ground_size(grid) == pytest.approx(sum(geodesic(grid)) / 2, rel=1e-4)


@given(longitude=st.floats(-180, 180), latitude=st.floats(-85, 85), size=st.floats(1e-6, 0.01))
@example(longitude=180.0, latitude=0.0, size=0.01)
def test_degrees_are_meters_at_their_latitude(longitude, latitude, size):
    grid = scene_at("EPSG:4326", (longitude, latitude), size)
    assert ground_spacing(grid) == pytest.approx(geodesic(grid), rel=1e-3)


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:25832", "EPSG:27700"])
def test_where_a_map_is_true_its_own_lengths_hold_exactly(crs):
    grid = scene_at(crs, (3.0 if crs == "EPSG:27700" else 12.0, 52.0), 0.3)
    assert ground_spacing(grid) == grid.spacing


def test_feet_are_the_feet_of_the_system():
    assert ground_spacing(scene_at("EPSG:2263", (-74.0, 40.7), 1.0)) == pytest.approx((2 * FOOT, FOOT), rel=1e-12)


@pytest.mark.parametrize(
    ("place", "known"),
    [
        *((place, False) for place in ("nowhere", "transform alone", "system alone", "coefficients")),
        *(("ground control points", False), ("local", True), ("engineering", True), ("compound", True)),
    ],
)
def test_without_a_system_nothing_is_known_and_a_local_one_has_lengths(place, known, tmp_path):
    grid = RasterSource(put(tmp_path / "a.tif", pixels((1, 8, 9)), **PLACES[place])).grid
    assert ground_spacing(grid) == ((10.0, 10.0) if known else None)
    assert cell_area(grid) == (100.0 if known else None)
    assert (placement_of(grid) is not None) == (place == "compound")


@pytest.mark.parametrize("crs", ["IAU_2015:49910", "+proj=longlat +a=3396190 +b=3396190 +no_defs", LOCAL, ROTATED_POLE])
def test_other_bodies_and_sites_have_no_place_on_the_earth_but_may_have_lengths(crs):
    grid = grid_at((8, 9), (10, 0, 5, 0, -10, 6), crs)
    assert ground_size(grid) is None or crs == ROTATED_POLE
    assert ground_spacing(grid) == (None if "longlat" in crs else (10.0, 10.0)) or crs == ROTATED_POLE


def fitted(points, terms):
    """Least squares of the terms of column and row, counted from the corner."""
    known = np.array([terms(p.col, p.row) for p in points])
    solved = np.linalg.lstsq(known, np.array([(p.x, p.y) for p in points]), rcond=None)[0]
    return lambda cells: np.array([terms(column + 0.5, row + 0.5) for row, column in cells]) @ solved


LINEAR = lambda x, y: (1, x, y)  # noqa: E731
QUADRATIC = lambda x, y: (1, x, y, x * x, x * y, y * y)  # noqa: E731


@pytest.mark.parametrize(("count", "terms"), [(3, LINEAR), (5, LINEAR), (6, QUADRATIC), (16, QUADRATIC)])
def test_control_points_place_cells_as_least_squares_do(count, terms, tmp_path):
    rng = np.random.default_rng(count)
    at = rng.uniform(0, 100, (count, 2))
    bend = rng.normal(0, 1e-7, (count, 2))
    points = [
        GroundControlPoint(r, c, 10 + 1e-4 * c + 1e-8 * r * c + dx, 60 - 5e-5 * r + dy)
        for (r, c), (dx, dy) in zip(at.tolist(), bend.tolist(), strict=True)
    ]
    grid = RasterSource(put(tmp_path / "a.tif", pixels((1, 100, 90)), gcps=points, crs="EPSG:4326")).grid
    place, cells = placement_of(grid), rng.uniform(-0.5, 99, (20, 2))
    np.testing.assert_allclose(place.world(cells), fitted(points, terms)(cells), atol=1e-9)
    assert ground_spacing(grid) == pytest.approx((5.57, 5.58), rel=0.2)


@pytest.mark.parametrize("points", [[(0, 0), (0, 5)], [(0, 0), (5, 5), (9, 9)], [(3, 3)] * 4])
def test_too_few_control_points_or_in_one_line_place_nothing(points, tmp_path, capfd):
    known = [GroundControlPoint(r, c, 10 + c, 50 - r) for r, c in points]
    grid = RasterSource(put(tmp_path / "a.tif", pixels((1, 8, 9)), gcps=known, crs="EPSG:4326")).grid
    assert placement_of(grid) is None
    assert capfd.readouterr().err == ""


def test_a_scene_without_a_file_is_placed_by_its_grid():
    grid = Grid((4, 4), from_transform((1, 0, 0, 0, -1, 0)), ("y", "x"), "EPSG:32633")
    assert placement_of(grid).crs == "EPSG:32633"


def test_words_that_proj_does_not_know_are_no_place():
    grid = Grid((4, 4), from_transform((1, 0, 0, 0, -1, 0)), ("y", "x"), "nowhere in particular")
    assert (placement_of(grid), ground_spacing(grid), cell_area(grid)) == (None, None, None)
