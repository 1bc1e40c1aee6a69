"""Orientations against nibabel's: which axes of the body those of a volume follow, and turns that are undone."""

from __future__ import annotations

from itertools import permutations, product

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RequestError
from pipeline.geometry import Grid
from pipeline.geometry.affine import Matrix, from_ijk, to_ijk
from pipeline.geometry.orientation import canonical, inverse, orient, orientation_of, turned_grid
from tests.support.fakes import grid_of

TURNS = [(order, flips) for order in permutations(range(3)) for flips in product([False, True], repeat=3)]
turns, seeds = st.sampled_from(TURNS), st.integers(0, 2**32 - 1)
shapes = st.tuples(*[st.integers(1, 5)] * 3)


def placed(seed: int) -> Matrix:
    """The affine of a volume that is turned anywhere, with spacings of 0.3 to 8 mm."""
    rng = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.3, 8, 3)
    matrix[:3, 3] = rng.uniform(-500, 500, 3)
    return from_ijk(matrix)


@given(seeds, shapes)
def test_letters_are_those_of_nibabel(seed, shape):
    grid = Grid(shape, placed(seed), ("z", "y", "x"))
    assert orientation_of(grid) == "".join(nibabel.aff2axcodes(to_ijk(grid.affine)))


@given(seeds, shapes, turns)
def test_turned_cells_keep_their_places(seed, shape, turn):
    grid = Grid(shape, placed(seed), ("z", "y", "x"))
    turned = turned_grid(grid, *turn)

    def world(of: Grid) -> np.ndarray:
        index = np.indices((*of.shape, 1)).reshape(4, -1)
        index[3] = 1
        return (np.array(of.affine) @ index)[:3].reshape(3, *of.shape)

    np.testing.assert_allclose(world(turned), orient(world(grid), *turn), rtol=0, atol=1e-9)


@given(seeds, shapes, turns)
def test_a_turn_is_undone_by_its_inverse(seed, shape, turn):
    array = np.random.default_rng(seed).integers(0, 99, (2, *shape))
    found = orient(orient(array, *turn), *inverse(*turn))
    np.testing.assert_array_equal(found, array)
    assert found.flags.c_contiguous
    assert inverse(*inverse(*turn)) == turn


@pytest.mark.parametrize(
    ("view", "orientation", "growing"),
    [
        ("axial", "RAS", "SAR"),
        ("axial", "LPS", "SPL"),
        ("coronal", "RAS", "ASR"),
        ("sagittal", "RAS", "RSA"),
        ("sagittal", "LAI", "LIA"),
    ],
)
def test_the_axes_of_a_view_grow_towards_its_letters(view, orientation, growing):
    grid = Grid((2, 3, 4), placed(7), ("z", "y", "x"))
    turned = turned_grid(grid, *canonical(grid, view, orientation=orientation))
    assert "".join(nibabel.aff2axcodes(np.array(turned.affine))) == growing


@pytest.mark.parametrize(
    ("view", "orientation", "word"),
    [("oblique", "RAS", "oblique"), ("axial", "RAR", "RAR"), ("axial", "RA", "RA"), ("axial", "xyz", "xyz")],
)
def test_an_unknown_word_is_named(view, orientation, word):
    with pytest.raises(RequestError, match=word):
        canonical(grid_of((2, 2, 2)), view, orientation=orientation)


def test_a_scene_has_no_views():
    with pytest.raises(RequestError, match="scene"):
        canonical(grid_of((2, 2)))
