"""Coordinate systems in several words."""

from __future__ import annotations

import pytest
from rasterio.crs import CRS

from pipeline.errors import RequestError
from pipeline.io.raster.georeference import parse_crs, same_crs

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
