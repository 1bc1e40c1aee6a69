"""Sieving: small regions go to what surrounds them, and any tile is as the whole."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import RequestError
from pipeline.geometry import Box
from pipeline.masks.export import export
from pipeline.sources.sieve import SievedLabels, sieve
from tests.support.fakes import ArraySource
from tests.support.inputs import labels_of
from tests.support.rasters import PLACES, put

NODATA = 9
CELLS = st.sampled_from([0, 1, 2, NODATA])
SCENES = arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=CELLS)
VOLUMES = arrays(np.uint8, st.tuples(*[st.integers(1, 5)] * 3), elements=CELLS)


def neighbours(cell, shape):
    for axis, step in product(range(len(shape)), (-1, 1)):
        other = list(cell)
        other[axis] += step
        if 0 <= other[axis] < shape[axis]:
            yield tuple(other)


def plainly(labels, least):
    """The same by walking over the cells."""
    region_of, regions = {}, []
    for cell in np.ndindex(labels.shape):
        if cell in region_of:
            continue
        region, todo = [], [cell]
        region_of[cell] = len(regions)
        while todo:
            at = todo.pop()
            region.append(at)
            for near in neighbours(at, labels.shape):
                if near not in region_of and labels[near] == labels[at]:
                    region_of[near] = len(regions)
                    todo.append(near)
        regions.append(region)
    small = {i for i, region in enumerate(regions) if len(region) < least and labels[region[0]] != NODATA}
    out = labels.copy()
    for index in small:
        around = Counter(
            int(labels[near])
            for cell in regions[index]
            for near in neighbours(cell, labels.shape)
            if region_of[near] not in small and labels[near] != NODATA
        )
        if around:
            best = min(around, key=lambda value: (-around[value], value))
            for cell in regions[index]:
                out[cell] = best
    return out


@given(SCENES | VOLUMES, st.integers(1, 8))
def test_it_is_as_walking_over_the_cells(labels, least):
    np.testing.assert_array_equal(sieve(labels, NODATA, least), plainly(labels, least))


@given(SCENES, st.integers(1, 4), st.data())
def test_any_box_is_cut_from_the_whole_and_tiles_do_not_show(labels, least, data):
    edges = [sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in labels.shape]
    box = Box(*zip(*edges, strict=True))
    found = SievedLabels(ArraySource(labels[None]), NODATA, least, side=1).read(box)
    expected = sieve(labels, NODATA, least)[box.slices]
    np.testing.assert_array_equal(found.values[0], expected)
    np.testing.assert_array_equal(True if found.valid is None else found.valid, expected != NODATA)


def test_a_mask_is_exported_without_small_patches(tmp_path):
    labels = np.zeros((60, 50), np.uint8)
    labels[5:8, 5:8] = 1  # nine cells
    labels[20:24, 20:24] = 1  # sixteen
    mask = put(tmp_path / "mask.tif", labels[None], nodata=255, **PLACES["north-up"])
    words = ["export", str(mask), "--output", str(tmp_path / "clean.tif"), "--sieve", "10"]
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 0, ended.output
    expected = labels.copy()
    expected[5:8, 5:8] = 0
    np.testing.assert_array_equal(labels_of(tmp_path / "clean.tif"), expected)
    with pytest.raises(RequestError, match="sieve is -1"):
        export(mask, tmp_path / "other.tif", sieve=-1)
