"""Copies of rasters with pixels of other sizes: GDAL's own, in any number of slabs, with what names and places them."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine

from pipeline.io.raster import resize
from pipeline.io.raster.resize import write_resized
from tests.support.inputs import PLACE, pixels, put_scene


def copied(source, factor, **how):
    target = source.with_name("copy.tif")
    write_resized(str(source), target, factor, **how)
    return target


@pytest.mark.parametrize("rows", [256, 7])
def test_larger_pixels_are_averages_and_labels_those_of_the_nearest(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(resize, "_ROWS", rows)
    values = pixels((2, 60, 44))
    path = put_scene(tmp_path / "a.tif", values)
    with rasterio.open(copied(path, 2.0)) as file:
        found = file.read()
        assert np.allclose(file.transform @ (22, 30), PLACE @ (44, 60))
    means = values.reshape(2, 30, 2, 22, 2).mean((2, 4))
    assert np.abs(found - means).max() <= 0.5
    with rasterio.open(copied(path, 4.0, labels=True)) as file:
        np.testing.assert_array_equal(file.read(), values[:, 2::4, 2::4])


def test_smaller_pixels_lie_between_those_of_the_raster(tmp_path):
    path = put_scene(tmp_path / "a.tif", pixels((1, 20, 30)))
    with rasterio.open(copied(path, 0.5)) as file, rasterio.open(path) as source:
        assert file.shape == (40, 60)
        assert abs(float(file.read().mean()) - float(source.read().mean())) < 3
    with rasterio.open(copied(path, 0.5, labels=True)) as file, rasterio.open(path) as source:
        np.testing.assert_array_equal(file.read()[:, ::2, ::2], source.read())


def test_nodata_names_and_the_lack_of_a_place_are_kept(tmp_path):
    values = pixels((2, 40, 40))
    values[:, :20] = 0
    path = put_scene(tmp_path / "a.tif", values, nodata=0, crs=None, transform=Affine.identity())
    with rasterio.open(path, "r+") as file:
        file.descriptions, file.scales = ("red", "nir"), (0.5, 2.0)
    with rasterio.open(copied(path, 2.0)) as file:
        assert (file.descriptions, file.scales, file.nodata) == (("red", "nir"), (0.5, 2.0), 0)
        assert (file.crs, file.transform) == (None, Affine.identity())
        assert file.read_masks(1)[:10].max() == 0
        assert file.read_masks(1)[10:].min() == 255
