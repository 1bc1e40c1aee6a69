from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RequestError
from pipeline.geometry import Box, Grid
from pipeline.geometry.orientation import canonical, inverse, orient
from pipeline.io.volume.nifti import open_volume
from pipeline.sources.passes import slabs
from pipeline.sources.reoriented import ReorientedSource
from tests.support.fakes import ArraySource, grid_of
from tests.support.real import ZOO

SPACE = ZOO / "niivue" / "nifti_space"
TURNS = [(order, flips) for order in permutations(range(3)) for flips in product([False, True], repeat=3)]


@dataclass
class PlacedSource(ArraySource):
    """An array as an input, anywhere in the world."""

    affine: tuple[tuple[float, ...], ...] = grid_of((1, 1, 1)).affine

    @property
    def grid(self) -> Grid:
        return Grid(self.values.shape[1:], self.affine, ("z", "y", "x"), reference={"nifti": {"of": "this file"}})


def affines():
    """Random places of a volume: a rotation, spacings of 0.3 to 8 mm, some shear, a corner anywhere."""
    return st.integers(0, 2**32 - 1).map(_affine)


def _affine(seed: int) -> tuple[tuple[float, ...], ...]:
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    shear = np.eye(3) + np.triu(rng.uniform(-0.1, 0.1, (3, 3)), 1)
    affine = np.eye(4)
    affine[:3, :3] = turn @ shear @ np.diag(rng.uniform(0.3, 8, 3))
    affine[:3, 3] = rng.uniform(-500, 500, 3)
    return tuple(tuple(float(v) for v in row) for row in affine)


def source_of(shape: tuple[int, int, int], affine: tuple[tuple[float, ...], ...]) -> PlacedSource:
    values = np.arange(2 * np.prod(shape), dtype=np.int32).reshape(2, *shape)
    return PlacedSource(values, values[0] % 3 > 0, (1, *shape[1:]), affine=affine)


def places(grid: Grid) -> np.ndarray:
    """World position of each cell, as an array `(3, *shape)`."""
    index = np.indices(grid.shape).reshape(3, -1)
    return (np.array(grid.affine) @ np.vstack([index, np.ones(index.shape[1])]))[:3].reshape(3, *grid.shape)


def boxes(shape: tuple[int, ...]):
    spans = [st.tuples(st.integers(0, n), st.integers(0, n)).map(sorted) for n in shape]
    return st.tuples(*spans).map(lambda s: Box(tuple(a for a, _ in s), tuple(b for _, b in s)))


SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))
ALL_TURNS = st.sampled_from(TURNS)


@given(shape=SHAPES, affine=affines(), turn=ALL_TURNS)
def test_every_cell_keeps_its_value_and_its_place_in_the_world(shape, affine, turn):
    source = source_of(shape, affine)
    view = ReorientedSource(source, *turn)
    pixels = view.read(Box.whole(view.grid.shape))

    def cells(grid, values, valid):
        return {
            int(v): (*np.round(place, 6), bool(seen))
            for v, place, seen in zip(values[0].ravel(), places(grid).reshape(3, -1).T, valid.ravel(), strict=True)
        }

    before, after = cells(source.grid, source.values, source.valid), cells(view.grid, *pixels)
    assert before.keys() == after.keys()
    for value, (*place, seen) in before.items():
        assert after[value][3] == seen
        np.testing.assert_allclose(after[value][:3], place, atol=2e-6)


@given(data=st.data(), shape=SHAPES, turn=ALL_TURNS)
def test_a_box_of_a_view_is_that_box_of_the_whole_view(data, shape, turn):
    view = ReorientedSource(source_of(shape, grid_of(shape).affine), *turn)
    box = data.draw(boxes(view.grid.shape))
    whole, part = view.read(Box.whole(view.grid.shape)), view.read(box)
    np.testing.assert_array_equal(part.values, whole.values[(slice(None), *box.slices)])
    np.testing.assert_array_equal(part.valid, whole.valid[box.slices])
    assert part.values.flags.c_contiguous


@given(data=st.data(), shape=SHAPES, turn=ALL_TURNS)
def test_what_is_oriented_back_belongs_at_to_source(data, shape, turn):
    source = source_of(shape, grid_of(shape).affine)
    view = ReorientedSource(source, *turn)
    box = data.draw(boxes(view.grid.shape))
    back = view.to_source(box)
    undone = inverse(*turn)
    np.testing.assert_array_equal(orient(view.read(box).values, *undone), source.read(back).values)
    np.testing.assert_array_equal(orient(view.read(box).valid, *undone), source.read(back).valid)
    assert back.size == box.size
    assert view.to_source(Box((0, 0, 0), view.block)).shape == source.block


@given(shape=SHAPES, affine=affines(), turn=ALL_TURNS)
def test_the_inverse_undoes_a_view(shape, affine, turn):
    source = source_of(shape, affine)
    twice = ReorientedSource(ReorientedSource(source, *turn), *inverse(*turn))
    np.testing.assert_array_equal(twice.read(Box.whole(shape)).values, source.values)
    np.testing.assert_allclose(twice.grid.affine, affine, atol=1e-9)
    assert twice.block == source.block
    assert twice.grid.axes == source.grid.axes


def test_a_view_does_not_carry_the_words_of_its_sources_geometry():
    assert ReorientedSource(source_of((2, 3, 4), _affine(0)), *TURNS[1]).grid.reference == {}


@given(affine=affines(), shape=SHAPES)
def test_the_canonical_orientation_is_the_one_that_nibabel_finds(affine, shape):
    grid = Grid(shape, affine, ("z", "y", "x"))
    order, flips = canonical(grid)
    array = np.arange(np.prod(shape)).reshape(shape)
    view = ReorientedSource(ArraySource(array[None]), order, flips).read(Box.whole(tuple(shape[a] for a in order)))
    by_nibabel = nibabel.as_closest_canonical(nibabel.Nifti1Image(array.T.astype(np.int32), nibabel_affine(grid)))
    np.testing.assert_array_equal(view.values[0].T, np.asarray(by_nibabel.dataobj))


def nibabel_affine(grid: Grid) -> np.ndarray:
    return np.array(grid.affine)[:, [2, 1, 0, 3]]


@given(seed=st.integers(0, 999), orientation=st.sampled_from(["RAS", "LPS", "LAI", "PSR"]))
@pytest.mark.parametrize("view", ["axial", "coronal", "sagittal"])
def test_a_volume_stored_in_any_of_48_orientations_looks_the_same(view, seed, orientation):
    source = source_of((2, 3, 4), nearly_straight(seed))
    first = None
    for turn in TURNS:
        stored = ReorientedSource(source, *turn)
        seen = ReorientedSource(stored, *canonical(stored.grid, view, orientation=orientation))
        values = seen.read(Box.whole(seen.grid.shape)).values
        first = values if first is None else first
        np.testing.assert_array_equal(values, first)


def nearly_straight(seed: int) -> tuple[tuple[float, ...], ...]:
    """An affine tilted by less than 30 degrees, so that the closest axes are plain."""
    skew = np.eye(4)
    skew[:3, :3] += np.random.default_rng(seed).uniform(-0.2, 0.2, (3, 3))
    return tuple(tuple(float(v) for v in row) for row in skew)


@pytest.mark.skipif(not SPACE.is_dir(), reason="the real data are not here")
def test_one_real_volume_in_its_stored_orientations_looks_the_same():
    seen = {}
    for path in sorted(SPACE.glob("*.nii.gz")):
        source = open_volume(path)
        view = ReorientedSource(source, *canonical(source.grid))
        seen[path.name] = (view.read(Box.whole(view.grid.shape)).values[0], view.grid)
        source.close()
    reference, grid = seen["RAS.nii.gz"]
    assert len(seen) > 20
    for name, (values, other) in seen.items():
        np.testing.assert_array_equal(values, reference, err_msg=name)
        np.testing.assert_allclose(other.affine, grid.affine, atol=1e-3, err_msg=name)


@pytest.mark.parametrize(("order", "flips"), [((0, 1, 1), (False,) * 3), ((0, 1), (False,) * 2)])
def test_an_order_that_is_no_permutation_is_refused(order, flips):
    with pytest.raises(RequestError, match="once"):
        ReorientedSource(source_of((2, 2, 2), grid_of((2, 2, 2)).affine), order, flips)


@given(shape=SHAPES, rows=st.integers(1, 6))
def test_slabs_follow_each_other_and_are_the_whole(shape, rows):
    source = source_of(shape, grid_of(shape).affine)
    walked = list(slabs(source, rows))
    np.testing.assert_array_equal(np.concatenate([p.values for _, p in walked], axis=1), source.values)
    assert [box.start[0] for box, _ in walked] == list(range(0, shape[0], rows))
    assert source.reads == [box for box, _ in walked]
