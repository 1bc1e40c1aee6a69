"""Arrays as sources: where their cells are, which are valid, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray
from affine import Affine

from pipeline.errors import RequestError
from pipeline.geometry import Box, Grid
from pipeline.geometry.affine import to_transform
from pipeline.sources.arrays import ArraySource, DataArraySource
from tests.support.fakes import grid_of
from tests.support.inputs import put_scene

pytestmark = pytest.mark.filterwarnings("ignore:Use .@. matmul:PendingDeprecationWarning")
SHAPE = (6, 5)
WHERE = Affine(10, 0, 500_000.3, 0, -10, 5_600_000.7)


def array(values: np.ndarray | None = None, *axes: str, **coords) -> xarray.DataArray:
    values = np.arange(30, dtype=np.int16).reshape(SHAPE) if values is None else values
    rows, columns = values.shape[-2:]
    places = {"y": WHERE.f - 10 * (np.arange(rows) + 0.5), "x": WHERE.c + 10 * (np.arange(columns) + 0.5)}
    found = xarray.DataArray(values, dims=axes or ("y", "x"), coords={**places, **coords}, name="cube")
    return found.rio.write_crs("EPSG:32632")


def test_a_file_has_the_same_grid_as_a_data_array_and_as_an_array(tmp_path):
    path = put_scene(tmp_path / "a.tif", np.ones((1, *SHAPE), np.uint8), transform=WHERE)
    with rasterio.open(path) as dataset:
        crs, exact = dataset.crs, dataset.transform
    found = DataArraySource(rioxarray.open_rasterio(path))
    assert to_transform(found.grid.affine) == pytest.approx(list(exact)[:6], abs=1e-9)
    assert rasterio.crs.CRS.from_user_input(found.grid.crs) == crs
    grid = Grid.from_transform(SHAPE, exact, "EPSG:32633")
    assert ArraySource(np.ones(SHAPE), grid).grid.max_corner_distance(found.grid) < 1e-9


@pytest.mark.parametrize(
    "part", [{"y": slice(2, 5), "x": slice(1, None)}, {"y": slice(None, None, -1)}, {"y": slice(None, None, 2)}]
)
def test_a_part_is_where_its_coordinates_say(part):
    whole = array()
    whole.rio.write_transform(WHERE, inplace=True)
    source = DataArraySource(whole.isel(part))
    rows, columns = whole.isel(part).y.values, whole.isel(part).x.values
    (_, across, x), (down, _, y), _ = source.grid.affine
    assert (x, y) == pytest.approx((columns[0], rows[0]))
    assert (across, down) == pytest.approx((columns[1] - columns[0], rows[1] - rows[0]))
    np.testing.assert_array_equal(source.read(Box.whole(source.grid.shape)).values[0], whole.isel(part).values)


def test_an_axis_beside_x_and_y_is_that_of_channels():
    values = np.arange(60, dtype=np.float32).reshape(5, 2, 6)
    source = DataArraySource(array(values.transpose(1, 2, 0), "time", "y", "x").transpose("x", "time", "y"))
    assert (source.channels, source.grid.shape) == (2, (6, 5))
    np.testing.assert_array_equal(source.read(Box((0, 0), (6, 5))).values, values.transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("values", "nodata", "valid"),
    [
        (np.array([[1, 0], [2, 3]], np.uint8), 0, [[True, False], [True, True]]),
        (np.array([[1, np.nan], [2, 3]], np.float32), None, [[True, False], [True, True]]),
        (np.array([[1, -9999], [2, np.inf]], np.float64), -9999, [[True, False], [True, False]]),
        (np.array([[1, 0], [2, 3]], np.uint8), None, None),
    ],
)
def test_cells_without_an_observation_are_not_valid(values, nodata, valid):
    sources = [ArraySource(values, grid_of((2, 2)), nodata=nodata)]
    cube = array(values)
    sources.append(DataArraySource(cube if nodata is None else cube.rio.write_nodata(nodata)))
    for source in sources:
        found = source.read(Box((0, 0), (2, 2))).valid
        assert (None if found is None else found.tolist()) == valid


def test_what_is_read_is_a_copy():
    values = np.zeros(SHAPE, np.uint8)
    source = ArraySource(values, grid_of(SHAPE))
    source.read(Box((0, 0), SHAPE)).values[:] = 9
    assert not values.any()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ArraySource(np.ones((5, 6)), grid_of(SHAPE)), r"shape \(5, 6\), and its grid \(6, 5\)"),
        (lambda: ArraySource(np.ones((1, 1, 6, 5)), grid_of(SHAPE)), r"shape \(1, 1, 6, 5\)"),
        (lambda: ArraySource(np.ones(SHAPE, complex), grid_of(SHAPE)), "complex128; it must be of integers or real"),
        (
            lambda: DataArraySource(array(np.ones((2, 3, 6, 5)), "time", "band", "y", "x")),
            "has the axes time, band, y, x",
        ),
        (lambda: DataArraySource(array().rename(y="up", x="over")), "has the axes up, over, none of which is x or y"),
        (lambda: DataArraySource(array(y=[0, 1, 2, 3, 5, 9])), "coordinates y have steps from 1 to 4"),
        (lambda: DataArraySource(array(np.ones(SHAPE, "datetime64[s]"))), r"datetime64\[s\]; .*convert it"),
        (lambda: DataArraySource(np.ones(SHAPE)), "no accessor `rio`.*import rioxarray"),
    ],
)
def test_what_has_no_place_or_no_numbers_is_refused(make, words):
    with pytest.raises(RequestError, match=words):
        make()
