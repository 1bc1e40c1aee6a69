from __future__ import annotations

import zlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.samples import (
    CLASSES,
    PHANTOM_AFFINE,
    PHANTOM_CLASSES,
    SCENE_TRANSFORM,
    phantom_slices,
    scene_rows,
)

SEEDS = st.integers(0, 2**40)
TILE = 512  # the generator's own tile: bands and widths must cross it
CRC = [434672145, 702705336, 2502917835, 1394990754]


@pytest.fixture(scope="module")
def scene():
    return scene_rows(0, 1536, 1536, seed=1)


@st.composite
def cut_bands(draw):
    """A start row, the rows of consecutive bands, a width and a narrower one."""
    start = draw(st.integers(0, 50_000) | st.integers(-3, 3).map(lambda n: 4 * TILE + n))
    heights = draw(st.lists(st.integers(1, 40) | st.just(TILE + 1), min_size=1, max_size=3))
    width = draw(st.integers(1, 90) | st.integers(TILE - 5, TILE + 60))
    return start, heights, width, draw(st.integers(1, width))


@settings(max_examples=12, deadline=None)
@given(cut_bands(), SEEDS)
def test_scene_does_not_depend_on_its_bands_or_its_width(cut, seed):
    start, heights, width, narrow = cut
    edges = np.cumsum([start, *heights])
    image, labels = scene_rows(start, edges[-1], width, seed=seed)
    bands = [scene_rows(a, b, narrow, seed=seed) for a, b in pairwise(edges.tolist())]
    np.testing.assert_array_equal(np.concatenate([band[0] for band in bands], axis=1), image[:, :, :narrow])
    np.testing.assert_array_equal(np.concatenate([band[1] for band in bands]), labels[:, :narrow])


def test_roofs_reach_across_bands_and_tiles():
    whole = scene_rows(0, 700, 700, seed=13)
    bands = [scene_rows(top, top + 28, 700, seed=13) for top in range(0, 700, 28)]
    assert np.mean(whole[1] == CLASSES.index("building")) > 0.1
    np.testing.assert_array_equal(np.concatenate([band[0] for band in bands], axis=1), whole[0])


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.integers(1, 2**31))
def test_seeds_make_different_scenes(seed, step):
    assert np.mean(scene_rows(0, 32, 64, seed=seed)[0] != scene_rows(0, 32, 64, seed=seed + step)[0]) > 0.5


def test_same_bytes_on_every_platform():
    image, labels = scene_rows(700, 860, 600, seed=7)
    values, organs = phantom_slices(3, 5, (9, 40, 50), seed=7)
    assert [zlib.crc32(array.tobytes()) for array in (image, labels, values, organs)] == CRC


def test_types_and_shapes():
    image, labels = scene_rows(10, 13, 5)
    assert (image.shape, image.dtype, labels.shape, labels.dtype) == ((3, 3, 5), np.uint8, (3, 5), np.uint8)
    assert scene_rows(4, 4, 5)[0].shape == (3, 0, 5)
    assert scene_rows(4, 6, 0)[1].shape == (2, 0)


@pytest.mark.parametrize("seed", [0, 1, 4, 9])
def test_every_class_has_a_share(seed):
    labels = scene_rows(0, 2048, 2048, seed=seed)[1]
    shares = np.bincount(labels.ravel(), minlength=len(CLASSES)) / labels.size
    assert len(shares) == len(CLASSES)
    assert shares.min() > 0.03
    assert shares.max() < 0.65


def test_most_patches_show_several_classes(scene):
    patches = scene[1].reshape(3, 512, 3, 512).swapaxes(1, 2).reshape(9, -1)
    assert np.mean([len(np.unique(patch)) >= 4 for patch in patches]) > 0.8


def test_labels_agree_with_what_is_seen(scene):
    image, labels = scene[0].astype(np.float32), scene[1]
    colours = np.stack([image[:, labels == label].mean(axis=1) for label in range(len(CLASSES))])
    building, land, road, vegetation, water = colours
    nearest = np.abs(image[:, None] - colours.T[:, :, None, None]).sum(axis=0).argmin(axis=0)
    found = [np.mean(nearest[labels == label] == label) for label in range(len(CLASSES))]
    assert np.mean(found) > 0.6
    assert building.argmax() == 0
    assert vegetation.argmax() == 1
    assert water.argmax() == 2
    assert np.ptp(road) < 10
    assert land.sum() > max(vegetation.sum(), water.sum(), road.sum())


def test_woods_are_rough_and_water_is_smooth(scene):
    step = np.abs(np.diff(scene[0][1].astype(np.int16), axis=1))
    same = scene[1][:, 1:] == scene[1][:, :-1]
    rough = [step[same & (scene[1][:, 1:] == label)].mean() for label in range(len(CLASSES))]
    assert np.argmin(rough) == CLASSES.index("water")
    assert rough[CLASSES.index("vegetation")] > 1.2 * rough[CLASSES.index("land")]


def test_nothing_repeats():
    greens = (scene_rows(top, top + 48, 512)[0][1] for top in range(0, 32768, 1024))
    crops = [np.diff(green.astype(np.int16)).ravel() for green in greens]
    alike = np.corrcoef(crops) - np.eye(len(crops))
    assert np.abs(alike).max() < 0.3


@pytest.mark.parametrize(("start", "stop", "width"), [(5, 4, 10), (0, 1, -1)])
def test_scene_refuses_impossible_ranges(start, stop, width):
    with pytest.raises(ValueError, match=f"{start}, {stop} and {width}"):
        scene_rows(start, stop, width)


@st.composite
def slabs(draw):
    """A shape and a slab of its slices."""
    shape = draw(st.tuples(*[st.integers(1, 20)] * 3))
    start = draw(st.integers(0, shape[0]))
    return shape, start, draw(st.integers(start, shape[0]))


@settings(max_examples=30, deadline=None)
@given(slabs(), SEEDS)
def test_phantom_does_not_depend_on_its_slabs(slab, seed):
    shape, start, stop = slab
    values, labels = phantom_slices(0, shape[0], shape, seed=seed)
    part = phantom_slices(start, stop, shape, seed=seed)
    assert (part[0].dtype, part[1].dtype, part[0].shape) == (np.int16, np.uint8, (stop - start, *shape[1:]))
    np.testing.assert_array_equal(part[0], values[start:stop])
    np.testing.assert_array_equal(part[1], labels[start:stop])


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_phantom_organs_lie_in_the_body_with_their_own_density(seed):
    values, labels = phantom_slices(0, 24, (24, 48, 48), seed=seed)
    middle = [float(values[labels == label].mean()) for label in range(1, len(PHANTOM_CLASSES))]
    assert labels.max() == len(PHANTOM_CLASSES) - 1
    assert values[labels > 0].min() > 0
    assert middle == pytest.approx([110, 190, 420], abs=6)
    edges = np.concatenate([labels[:, [0, -1]].ravel(), labels[:, :, [0, -1]].ravel()])
    assert edges.max() == 0


def test_phantom_seeds_differ_in_shape_and_noise():
    one, other = (phantom_slices(0, 10, (10, 40, 40), seed=seed) for seed in (1, 2))
    assert np.mean(one[0] != other[0]) > 0.9
    assert np.any(one[1] != other[1])


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2), (0, 9)])
def test_phantom_refuses_slices_outside(start, stop):
    with pytest.raises(ValueError, match="slices"):
        phantom_slices(start, stop, (8, 4, 4))


def test_places_in_the_world():
    affine = np.array(PHANTOM_AFFINE)
    np.testing.assert_allclose(affine[:3, :3].T @ affine[:3, :3], np.diag([0.64, 0.64, 6.25]), atol=1e-12)
    assert np.count_nonzero(affine[:3, :3]) == 5
    assert SCENE_TRANSFORM[1] == -SCENE_TRANSFORM[5] == 0.5
