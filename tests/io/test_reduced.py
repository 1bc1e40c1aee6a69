"""Scenes at a lower resolution: means of valid cells, majorities of labels, and GDAL's overviews."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import Resampling

from pipeline.geometry import Box
from pipeline.io.opening import open_source
from pipeline.io.reduced import read_reduced, reduced_shape
from tests.support.fakes import ArraySource
from tests.support.inputs import pixels, put_scene


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([1, 2, 4, 8]),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.integers(0, 99),
)
def test_each_cell_is_the_mean_of_the_valid_cells_that_it_stands_for(rows, columns, step, block, seed):
    rng = np.random.default_rng(seed)
    values, valid = rng.integers(0, 200, (2, rows, columns)).astype(np.uint8), rng.random((rows, columns)) < 0.6
    box = Box.whole((rows, columns))
    found = read_reduced(ArraySource(values, valid, block), box, step)
    assert found.values.shape[1:] == reduced_shape(box, step)
    for row, column in np.ndindex(*reduced_shape(box, step)):
        at = slice(row * step, (row + 1) * step), slice(column * step, (column + 1) * step)
        cells = values[(slice(None), *at)][:, valid[at]]
        assert (found.valid is None or found.valid[row, column]) == (cells.size > 0)
        if cells.size:
            np.testing.assert_array_equal(found.values[:, row, column], np.rint(cells.mean(axis=1)))


def test_labels_are_the_most_frequent_ones():
    labels = np.full((1, 8, 8), 3, np.uint8)
    labels[0, :4, :4] = 1
    labels[0, 0, 0] = 2
    labels[0, 4:, 4:] = 255
    found = read_reduced(ArraySource(labels, block=(3, 5)), Box.whole((8, 8)), 4, nodata=255)
    assert found.values.tolist() == [[[1, 3], [3, 255]]]
    assert found.valid.tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize("step", [2, 4, 8])
def test_a_raster_answers_from_its_overviews(tmp_path, step):
    path = put_scene(tmp_path / "scene.tif", pixels((2, 512, 384)), tiled=True)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.average)
    source = open_source(path)
    box = Box((64, 128), (320, 384))
    found = read_reduced(source, box, step).values
    source.close()
    assert source.factors == (2, 4)
    with rasterio.open(path, overview_level=0 if step == 2 else 1) as overview:
        factor = min(step, 4)
        whole = overview.read()[:, 64 // factor : 320 // factor, 128 // factor : 384 // factor]
    np.testing.assert_array_equal(found, whole if step < 8 else whole[:, 1::2, 1::2])


def test_a_mask_beside_a_raster_counts_at_every_step(tmp_path):
    path = put_scene(tmp_path / "scene.tif", pixels((1, 256, 256)), tiled=True)
    with rasterio.open(path, "r+") as dataset:
        seen = np.ones((256, 256), np.uint8) * 255
        seen[:128] = 0
        dataset.write_mask(seen)
    source = open_source(path)
    for step in (1, 2, 16):
        valid = read_reduced(source, Box.whole((256, 256)), step).valid
        assert not valid[: 128 // step].any()
        assert valid[128 // step :].all()
    source.close()
