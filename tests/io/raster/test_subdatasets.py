"""A dataset of a file that holds several is an input by the name that GDAL gives it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import InputError
from pipeline.geometry import Box
from pipeline.io.address import file_of_subdataset, is_path, is_remote, name_of, output_folder, redact_url, with_paths
from pipeline.io.opening import input_version, open_source, stamp_of
from pipeline.jobs.inputs import find_inputs
from pipeline.jobs.outputs import name_outputs
from tests.support.rasters import NORTH_UP, pixels, put

UTM = "EPSG:32632"


def two_bands(folder: Path, name: str = "x.nc") -> tuple[Path, np.ndarray]:
    """A NetCDF file, in which each band is a dataset of its own."""
    values = pixels((2, 30, 40))
    put(folder / "bands.tif", values, transform=NORTH_UP, crs=UTM)
    rasterio.shutil.copy(folder / "bands.tif", folder / name, driver="netCDF")
    return folder / name, values


def two_tables(folder: Path) -> Path:
    for number, name in enumerate(("ONE", "TWO")):
        put(folder / f"{name}.tif", pixels((1, 30, 40)) // (number + 1), transform=NORTH_UP, crs=UTM)
        how = {"RASTER_TABLE": name, "APPEND_SUBDATASET": "YES" if number else "NO", "TILE_FORMAT": "PNG"}
        rasterio.shutil.copy(folder / f"{name}.tif", folder / "two.gpkg", driver="GPKG", **how)
    return folder / "two.gpkg"


def two_directories(folder: Path) -> Path:
    for number in range(2):
        put(folder / "one.tif", pixels((1, 30, 40)) // (number + 1), transform=NORTH_UP, crs=UTM)
        how = {"APPEND_SUBDATASET": "YES" if number else "NO"}
        rasterio.shutil.copy(folder / "one.tif", folder / "two.tif", driver="GTiff", **how)
    return folder / "two.tif"


MAKERS = {"NetCDF": lambda folder: two_bands(folder)[0], "GeoPackage": two_tables, "TIFF": two_directories}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_name_that_gdal_lists_is_an_input(kind, tmp_path):
    path = MAKERS[kind](tmp_path)
    with rasterio.open(path) as whole:
        names = whole.subdatasets
    assert len(names) == 2
    read = [open_source(name) for name in names]
    for name, source in zip(names, read, strict=True):
        with rasterio.open(name) as expected:
            np.testing.assert_array_equal(source.read(Box.whole(source.grid.shape)).values, expected.read())
        assert file_of_subdataset(name) == path
        assert find_inputs([name]) == (name,)
        assert input_version(name)["name"] == name_of(name)
        assert stamp_of(name) == stamp_of(path)
        source.close()
    assert len({input_version(name)["name"] for name in names}) == 2
    assert len(set(name_outputs(names, str(tmp_path / "out")))) == 2


def test_the_names_are_told_and_the_mask_has_its_own(tmp_path, models):
    path, values = two_bands(tmp_path)
    put(tmp_path / "single.tif", values[1:], transform=NORTH_UP, crs=UTM)
    with pytest.raises(
        InputError, match=r"x\.nc: has no image of its own; give one of its datasets as input: "
    ) as caught:
        open_source(path)
    name = re.search(r"(?i)netcdf:[^,]*Band2", str(caught.value))[0]
    words = ["run", "--model", str(models / "scene"), "--no-prefect", "--json", "--bands", "1,1", "--input"]
    ended = CliRunner().invoke(app, [*words, name])
    assert ended.exit_code == 0, ended.output
    (item,) = json.loads(ended.stdout)["items"]
    assert Path(item["output"]) == tmp_path / "x_Band2_mask.tif"
    ended = CliRunner().invoke(app, [*words, str(tmp_path / "single.tif")])
    assert ended.exit_code == 0, ended.output
    with rasterio.open(item["output"]) as mask, rasterio.open(tmp_path / "single_mask.tif") as expected:
        np.testing.assert_array_equal(mask.read(), expected.read())
        assert mask.transform == expected.transform


@pytest.mark.parametrize(
    ("name", "file", "called"),
    [
        ("NETCDF:{}/x.nc:Band1", "x.nc", "x_Band1.nc"),
        ('NETCDF:"{}/x.nc":Band1', "x.nc", "x_Band1.nc"),
        ('HDF5:"{}/x.h5"://a/b', "x.h5", "x_a_b.h5"),
        ("GTIFF_DIR:2:{}/x.tif", "x.tif", "x_2.tif"),
        ("GPKG:{}/a:b.gpkg:T", "a:b.gpkg", "a:b_T.gpkg"),
    ],
)
def test_a_name_is_taken_apart(name, file, called, tmp_path):
    name = name.format(tmp_path)
    assert file_of_subdataset(name) is None
    (tmp_path / file).touch()
    assert file_of_subdataset(name) == tmp_path / file
    assert (is_remote(name), is_path(name), redact_url(name)) == (False, False, name)
    assert name_of(name) == called
    assert output_folder(name) == tmp_path
    assert with_paths(name, lambda path: f"/other{path}") == name.replace(str(tmp_path), f"/other{tmp_path}")


@pytest.mark.parametrize("name", ["a:b.tif", "http://host/x.nc", "mosaic:x.nc", "stack:a=x.nc", "NETCDF:none.nc:Band1"])
def test_other_names_are_not(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("a:b.tif", "b.tif", "x.nc"):
        (tmp_path / file).touch()
    assert file_of_subdataset(name) is None
