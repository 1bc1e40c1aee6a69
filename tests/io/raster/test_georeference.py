"""Coordinate systems in several words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.shutil import copy

from pipeline.errors import RequestError
from pipeline.io.raster import RasterSource
from pipeline.io.raster.georeference import parse_crs, same_crs, transform_of
from tests.support.rasters import NORTH_UP, put

UTM = "EPSG:32633"
SPELLINGS = (UTM, CRS.from_epsg(32633).to_wkt(), "+proj=utm +zone=33 +datum=WGS84 +units=m +no_defs", "epsg:32633")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_system_is_the_same_in_other_words(spelling):
    assert same_crs(UTM, spelling)
    assert same_crs(spelling, UTM)
    assert not same_crs(spelling, "EPSG:32632")
    assert parse_crs(spelling).to_epsg() == 32633


def test_no_system_is_the_same_as_none_alone():
    assert same_crs(None, None)
    assert not same_crs(None, UTM)
    assert not same_crs(UTM, None)


def test_words_that_name_no_system_are_refused_unless_they_are_the_same():
    assert same_crs("site grid", "site grid")
    with pytest.raises(RequestError, match="site grid: is not a CRS"):
        same_crs(UTM, "site grid")


PLAIN_DRIVERS = ("PNG", "JPEG", "BMP", "GIF", "PNM", "WEBP", "ENVI", "SGI", "XPM", "HFA", "JP2OpenJPEG")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("driver", PLAIN_DRIVERS)
def test_a_picture_without_a_transform_has_none_whatever_was_opened_before(driver: str, tmp_path: Path) -> None:
    values = np.arange(3 * 40 * 50, dtype=np.uint8).reshape(3, 40, 50)
    picture, placed = (
        tmp_path / "picture.pgm",
        put(tmp_path / "placed.tif", values, transform=NORTH_UP, crs="EPSG:32633"),
    )
    bands = 1 if driver in ("GIF", "PNM", "XPM") else 3
    copy(put(tmp_path / "plain.tif", values[:bands]), picture, driver=driver)
    for file in tmp_path.glob("picture.*xml"):
        file.unlink()
    for _ in range(2):
        with rasterio.open(placed) as dataset:
            assert dataset.transform == NORTH_UP
        assert transform_of(RasterSource(picture).grid) is None


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_transform_beside_a_picture_is_its_own(tmp_path: Path) -> None:
    picture = tmp_path / "picture.pgm"
    picture.write_bytes(b"P5 5 4 255 " + bytes(20))
    assert transform_of(RasterSource(picture).grid) is None
    (tmp_path / "picture.wld").write_text("10\n0\n0\n-10\n505\n895\n")
    with rasterio.open(picture) as dataset:
        assert transform_of(RasterSource(picture).grid) == list(dataset.transform)[:6] == [10, 0, 500, 0, -10, 900]
