"""Affines against rasterio, GDAL's own functions and nibabel, and against each other there and back."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import array_bounds, rowcol, xy

from pipeline.geometry import Grid
from pipeline.geometry.affine import (
    axis_coordinates,
    cell_volume,
    corner_distance,
    from_directions,
    from_geotransform,
    from_ijk,
    from_pixels,
    from_spacing,
    from_transform,
    is_flat,
    is_upright,
    linear,
    offset,
    points_to_world,
    relative,
    shifted,
    shifted_transform,
    solve_index,
    spacing_of,
    to_geotransform,
    to_ijk,
    to_index,
    to_pixels,
    to_transform,
    to_world,
)
from pipeline.geometry.grid import SAME_GRID_TOLERANCE, difference

sizes = st.floats(1 / 3600, 1000)
places = st.floats(-1e7, 1e7)
steps = st.integers(-5000, 5000)


@st.composite
def upright_transforms(draw):
    width, height = draw(sizes), draw(sizes)
    return [draw(st.sampled_from([width, -width])), 0.0, draw(places), 0.0, -height, draw(places)]


@st.composite
def transforms(draw):
    """GDAL's transforms of rotated, sheared and mirrored scenes."""
    turned = Affine.rotation(draw(st.floats(0, 360))) @ Affine.shear(draw(st.floats(-40, 40)))
    scaled = Affine.scale(draw(sizes), draw(sizes) * draw(st.sampled_from([1, -1])))
    return list(Affine.translation(draw(places), draw(places)) @ turned @ scaled)[:6]


@st.composite
def volumes(draw):
    """NIfTI's affines `(4, 4)` of rotated volumes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    matrix = np.eye(4)
    matrix[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.3, 8, 3)
    matrix[:3, 3] = rng.uniform(-500, 500, 3)
    return matrix


cells = st.lists(st.tuples(steps, steps), min_size=1, max_size=20).map(lambda found: np.array(found, np.float64).T)


def tolerance(transform) -> float:
    """What float64 leaves open in the world, for cells of up to 5000 and solving by an inverse."""
    return 1e-12 * (5000 * max(map(abs, transform)) + max(abs(transform[2]), abs(transform[5])))


@given(transforms(), cells)
def test_centers_are_where_rasterio_has_them(transform, index):
    xs, ys = xy(Affine(*transform), *index, offset="center")
    found = to_world(from_transform(transform), index)
    np.testing.assert_allclose(found, [xs, ys], rtol=0, atol=tolerance(transform))


@given(transforms(), cells)
def test_corners_are_where_rasterio_has_them(transform, index):
    xs, ys = xy(Affine(*transform), *index, offset="ul")
    found = to_world(from_transform(transform), from_pixels(index[::-1].T))
    np.testing.assert_allclose(found, [xs, ys], rtol=0, atol=tolerance(transform))


@given(transforms(), cells)
def test_a_place_is_in_the_cell_in_which_rasterio_finds_it(transform, index):
    affine = from_transform(transform)
    world = to_world(affine, index + 0.25)
    rows, columns = rowcol(Affine(*transform), *world)
    for found in (to_index(affine, world), solve_index(affine, world)):
        np.testing.assert_array_equal(np.floor(found + 0.5), [rows, columns])


@given(transforms(), cells)
def test_indices_come_back_from_the_world_whichever_way(transform, index):
    affine = from_transform(transform)
    world = to_world(affine, index)
    room = 100 * tolerance(transform) / min(spacing_of(affine))
    np.testing.assert_allclose(to_index(affine, world), index, rtol=0, atol=room)
    np.testing.assert_allclose(solve_index(affine, world), index, rtol=0, atol=room)
    np.testing.assert_array_equal(solve_index(affine, world)[:, :1].shape, (2, 1))
    np.testing.assert_allclose(solve_index(affine, world[:, 0]), index[:, 0], rtol=0, atol=room)


@given(transforms(), cells)
def test_points_as_a_product_differ_by_rounding_alone(transform, index):
    affine = from_transform(transform)
    found = points_to_world(affine, index.T.copy())
    np.testing.assert_allclose(found, to_world(affine, index).T, rtol=0, atol=tolerance(transform))


@given(upright_transforms(), cells)
def test_points_as_a_product_are_the_same_numbers_in_an_upright_grid(transform, index):
    affine = from_transform(transform)
    np.testing.assert_array_equal(points_to_world(affine, index.T.copy()), to_world(affine, index).T)


@given(transforms(), steps, steps)
def test_terms_are_added_in_the_order_of_the_axes_and_the_offset_last(transform, row, column):
    (a, b, c), (d, e, f), _ = affine = from_transform(transform)
    expected = [a * row + b * column + c, d * row + e * column + f]
    assert to_world(affine, np.array([row, column], np.float64)).tolist() == expected


def test_images_of_indices_keep_their_shape():
    affine = from_transform([10.0, 0.0, 500.0, 0.0, -10.0, 900.0])
    index = np.mgrid[0:3, 0:4].astype(np.float64)
    world = to_world(affine, index)
    assert world.shape == index.shape
    np.testing.assert_array_equal(to_index(affine, world), index)
    assert world[:, 0, 0].tolist() == offset(affine).tolist() == [505.0, 895.0]


@given(transforms())
def test_a_transform_comes_back(transform):
    np.testing.assert_allclose(to_transform(from_transform(transform)), transform, rtol=1e-12, atol=1e-9)


@given(transforms())
def test_gdals_own_order_is_that_of_the_affine_library(transform):
    assert tuple(to_geotransform(transform)) == Affine(*transform).to_gdal()
    assert from_geotransform(to_geotransform(transform)) == transform


@given(transforms(), st.tuples(steps, steps))
def test_a_grid_from_another_cell_on_is_shifted_as_rasterio_shifts_a_window(transform, start):
    expected = Affine(*transform) @ Affine.translation(start[1], start[0])
    found = shifted_transform(transform, start)
    np.testing.assert_allclose(found, list(expected)[:6], rtol=0, atol=tolerance(transform))
    affine = shifted(from_transform(transform), start)
    np.testing.assert_allclose(np.array(affine), np.array(from_transform(found)), rtol=0, atol=tolerance(transform))


@given(transforms(), st.tuples(steps, steps), cells)
def test_cells_of_one_grid_are_found_on_another(transform, start, index):
    one = from_transform(transform)
    between = relative(one, shifted(one, start))
    found = between[:2, :2] @ index + between[:2, 2:]
    room = 100 * tolerance(transform) / min(spacing_of(one))
    np.testing.assert_allclose(found, index - np.array(start)[:, None], rtol=0, atol=room)


@given(cells)
def test_pixel_coordinates_come_back(index):
    np.testing.assert_array_equal(from_pixels(to_pixels(index)), index)
    assert to_pixels(np.array([[0.0], [3.0]])).tolist() == [[3.5, 0.5]]


@given(volumes(), st.integers(0, 2**32 - 1))
def test_voxels_are_where_nibabel_has_them(matrix, seed):
    index = np.random.default_rng(seed).integers(0, 300, (3, 9)).astype(np.float64)
    expected = nibabel.affines.apply_affine(matrix, index[::-1].T).T
    np.testing.assert_allclose(to_world(from_ijk(matrix), index), expected, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(to_ijk(from_ijk(matrix)), matrix)


@given(volumes())
def test_spacing_and_volume_are_those_of_nibabel(matrix):
    affine = from_ijk(matrix)
    np.testing.assert_allclose(spacing_of(affine), nibabel.affines.voxel_sizes(matrix)[::-1], rtol=1e-12)
    assert cell_volume(affine) == abs(float(np.linalg.det(np.array(affine)[:3, :3])))
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), matrix)
    assert cell_volume(affine) == pytest.approx(np.prod(image.header.get_zooms()), rel=1e-6)


@given(transforms())
def test_the_area_of_a_cell_is_that_of_its_outline(transform):
    affine = from_transform(transform)
    assert cell_volume(affine) == pytest.approx(abs(Affine(*transform).determinant), rel=1e-9)
    assert Grid((3, 4), affine, ("y", "x")).cell_volume == cell_volume(affine)


@given(volumes())
def test_directions_of_lps_are_turned_to_ras(matrix):
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix
    found = from_directions(lps[:3, :3].T, lps[:3, 3], (-1, -1, 1))
    np.testing.assert_array_equal(found, from_ijk(matrix))
    assert "-0.0" not in str(from_directions(np.eye(3), (0, 0, 0), (-1, -1, 1)))


@given(st.integers(2, 3), st.data())
def test_axes_along_the_world(size, data):
    spacing = data.draw(st.lists(sizes, min_size=size, max_size=size))
    origin = data.draw(st.lists(places, min_size=size, max_size=size))
    affine = from_spacing(spacing, origin)
    assert spacing_of(affine) == pytest.approx(tuple(spacing), rel=1e-15)
    assert offset(affine)[::-1].tolist() == origin
    index = np.arange(size, dtype=np.float64)
    expected = [o + s * i for o, s, i in zip(origin, spacing, index, strict=True)]
    np.testing.assert_allclose(to_world(affine, index)[::-1], expected, rtol=1e-15)
    assert cell_volume(affine) == pytest.approx(np.prod(spacing))


@given(upright_transforms(), st.integers(2, 9), st.integers(2, 9))
def test_coordinates_of_an_upright_scene(transform, rows, columns):
    affine = from_transform(transform)
    assert is_upright(affine)
    index = np.indices((rows, columns)).astype(np.float64)
    x, y = to_world(affine, index)
    np.testing.assert_array_equal(axis_coordinates(affine, 0, rows), y[:, 0])
    np.testing.assert_array_equal(axis_coordinates(affine, 1, columns), x[0])
    left, bottom, right, top = array_bounds(rows, columns, Affine(*transform))
    assert min(left, right) < x.min() <= x.max() < max(left, right)
    assert min(bottom, top) < y.min() <= y.max() < max(bottom, top)
    assert not is_upright(from_transform([10.0, 1.0, 0.0, 1.0, -10.0, 0.0]))


@given(volumes())
def test_a_volume_is_flat_where_its_axes_are_in_one_plane(matrix):
    axes = linear(from_ijk(matrix))
    assert not is_flat(axes)
    axes[:, 2] = axes[:, 0] - 3 * axes[:, 1]
    assert is_flat(axes)


@given(volumes(), st.tuples(*[st.integers(1, 40)] * 3), st.tuples(*[st.floats(-3, 3)] * 3))
def test_corners_of_a_shifted_volume_are_as_far_apart_as_it_was_shifted(matrix, shape, shift):
    other = matrix.copy()
    other[:3, 3] += shift
    assert corner_distance(shape, matrix, other) == pytest.approx(float(np.linalg.norm(shift)), abs=1e-9)
    one, two = (Grid(shape, from_ijk(one), ("z", "y", "x")) for one in (matrix, other))
    assert one.max_corner_distance(two) == pytest.approx(np.linalg.norm(shift) / min(one.spacing), abs=1e-9)


def test_grids_differ_in_shape_or_place_and_not_by_the_rounding_of_a_header():
    grid = Grid((4, 5), from_transform([10.0, 0.0, 500.0, 0.0, -10.0, 900.0]), ("y", "x"))
    assert difference(grid, grid) is None
    assert difference(grid, Grid((4, 6), grid.affine, ("y", "x"))) == "their shapes differ, (4, 5) and (4, 6)"
    near = Grid((4, 5), from_transform([10.0, 0.0, 500.0 + 9.9 * SAME_GRID_TOLERANCE, 0.0, -10.0, 900.0]), ("y", "x"))
    assert difference(grid, near) is None
    coarse = Grid((4, 5), from_transform([20.0, 0.0, 500.0, 0.0, -10.0, 900.0]), ("y", "x"))
    assert difference(grid, coarse) == (
        "their cells are in different places, spacing [10.0, 10.0] and [10.0, 20.0], affine [[0.0, 10.0, 505.0], "
        "[-10.0, 0.0, 895.0]] and [[0.0, 20.0, 510.0], [-10.0, 0.0, 895.0]] (array order, cell centers)"
    )
    moved = Grid((4, 5), from_transform([10.0, 0.0, 530.0, 0.0, -10.0, 900.0]), ("y", "x"))
    assert difference(grid, moved) == (
        "their cells are in different places: origin [505.0, 895.0] and [535.0, 895.0] (array order, cell centers)"
    )
    south_up = Grid((4, 5), ((0.0, 10.0, 505.0), (10.0, 0.0, 895.0), (0.0, 0.0, 1.0)), ("y", "x"))
    assert difference(grid, south_up) == (
        "their cells are in different places: directions [[0.0, 10.0], [-10.0, 0.0]] and [[0.0, 10.0], [10.0, 0.0]] "
        "(array order, cell centers)"
    )
