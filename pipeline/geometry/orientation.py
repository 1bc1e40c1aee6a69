"""The orientation of a volume: which anatomical axes its own follow, and how to permute and reverse them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import RequestError
from pipeline.geometry.affine import as_matrix, linear
from pipeline.geometry.box import Box
from pipeline.geometry.grid import Grid

Orientation = tuple[tuple[int, ...], tuple[bool, ...]]
"""Order and flips: axis `a` of a view is axis `order[a]` of its source, reversed where `flips[a]`."""

_LETTERS = {"R": (0, True), "L": (0, False), "A": (1, True), "P": (1, False), "S": (2, True), "I": (2, False)}
"""By letter: the world axis, and whether it grows towards that side (RAS+)."""
_VIEWS = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}
"""By view: which letters of an orientation the sweep, the rows and the columns follow."""

_SHOWN = {
    "axial": ("LPS", ("R", "L", "A", "P")),
    "coronal": ("LPI", ("R", "L", "S", "I")),
    "sagittal": ("LPI", ("A", "P", "S", "I")),
}
"""By view: the orientation in which slices are shown, and the sides at their left, right, top and bottom."""


def inverse(order: tuple[int, ...], flips: tuple[bool, ...]) -> Orientation:
    """Return the order and flips that undo these.

    >>> inverse((2, 0, 1), (True, False, False))
    ((1, 2, 0), (False, False, True))
    """
    back = tuple(order.index(axis) for axis in range(len(order)))
    return back, tuple(flips[axis] for axis in back)


def canonical(grid: Grid, view: str = "axial", *, orientation: str = "RAS") -> Orientation:
    """Return the order and flips that bring a volume to one orientation, however its file stores it.

    "axial" gives the axes (z, y, x), with x growing towards the first letter of `orientation`, y towards the second and
    z towards the third; "coronal" sweeps y with rows z and columns x, "sagittal" sweeps x with rows z and columns y.
    An oblique volume is brought to the closest orientation, without resampling.

    Raises:
        RequestError: for a scene, or an unknown `view` or `orientation`.

    """
    if grid.is_scene:
        raise RequestError(f"a scene of shape {grid.shape} has no {view} view; give a volume")
    if view not in _VIEWS:
        raise RequestError(f"unknown view {view!r}; choose one of {', '.join(_VIEWS)}")
    if sorted(_LETTERS.get(letter, (-1, True))[0] for letter in orientation) != [0, 1, 2]:
        raise RequestError(f"unknown orientation {orientation!r}; give one letter each of R/L, A/P and S/I, e.g. RAS")
    nearest = _nearest_axes(grid)
    wanted = [_LETTERS[orientation[place]] for place in _VIEWS[view]]
    order = tuple(nearest[world][0] for world, _ in wanted)
    return order, tuple(nearest[world][1] != grows for world, grows in wanted)


class Display(NamedTuple):
    """How slices along the first axis of a volume are shown upright, as radiologists see them."""

    swapped: bool
    """Whether rows and columns are exchanged."""
    flips: tuple[bool, bool]
    """Whether rows and columns are reversed, after that."""
    marks: tuple[str, str, str, str]
    """Letters of the sides of the body at the left, the right, the top and the bottom."""

    def show(self, slices: NDArray[Any]) -> NDArray[Any]:
        """Return a view of slices, `(..., rows, columns)`, as they are shown."""
        turned = slices.swapaxes(-1, -2) if self.swapped else slices
        rows, columns = (slice(None, None, -1 if flip else 1) for flip in self.flips)
        return turned[..., rows, columns]


def display_of(grid: Grid) -> Display:
    """Return how slices along the first axis of a volume are shown.

    The head is at the top of sagittal and coronal slices. The front is at the top of axial ones, and at the left of
    sagittal ones. The right of the body is at the left of the others.
    """
    for view, (orientation, marks) in _SHOWN.items():
        order, flips = canonical(grid, view, orientation=orientation)
        if order[0] == 0:
            return Display(order[1] == 2, (flips[1], flips[2]), marks)
    raise ValueError(f"no axis of {grid.affine} is nearest to the first")  # canonical orders are permutations


def orientation_of(grid: Grid) -> str:
    """Return the directions in which the axes x, y and z of a volume grow, e.g. "RAS" or "LPS"."""
    towards = {axis: letters[grows] for (axis, grows), letters in zip(_by_world(grid), ("LR", "PA", "IS"), strict=True)}
    return "".join(towards[axis] for axis in (2, 1, 0))


def _by_world(grid: Grid) -> list[tuple[int, bool]]:
    nearest = _nearest_axes(grid)
    return [nearest[world] for world in range(3)]


def _nearest_axes(grid: Grid) -> dict[int, tuple[int, bool]]:
    """By world axis: the array axis closest to it, and whether they grow together."""
    matrix = linear(grid.affine)
    left, _, right = np.linalg.svd(matrix / np.linalg.norm(matrix, axis=0))
    turn = left @ right  # the closest rotation: without spacing and shear
    strength = np.abs(turn)
    nearest = {}
    for axis in np.argsort(-strength.max(axis=0), kind="stable"):
        world = int(np.argmax(strength[:, axis]))
        nearest[world] = (int(axis), bool(turn[world, axis] > 0))
        strength[world] = -1.0
    return nearest


def turned_grid(grid: Grid, order: tuple[int, ...], flips: tuple[bool, ...]) -> Grid:
    """Return a grid with its axes permuted and reversed; each cell stays where it is in the world."""
    shape = tuple(grid.shape[axis] for axis in order)
    to_source = np.zeros((len(order) + 1, len(order) + 1))
    to_source[-1, -1] = 1
    for axis, (target, flip) in enumerate(zip(order, flips, strict=True)):
        to_source[target, axis] = -1 if flip else 1
        to_source[target, -1] = shape[axis] - 1 if flip else 0
    return Grid(shape, as_matrix(np.array(grid.affine) @ to_source), grid.axes, grid.crs)


def unturned(box: Box, shape: tuple[int, ...], order: tuple[int, ...], flips: tuple[bool, ...]) -> Box:
    """Convert a box of a grid of this shape, which was turned, to the axes of the grid before.

    >>> unturned(Box((0, 1), (2, 3)), (4, 5), (1, 0), (True, False))
    Box(start=(1, 2), stop=(3, 4))
    """
    spans = [
        (size - stop, size - start) if flip else (start, stop)
        for start, stop, size, flip in zip(box.start, box.stop, shape, flips, strict=True)
    ]
    before = [spans[axis] for axis in inverse(order, flips)[0]]
    return Box(tuple(start for start, _ in before), tuple(stop for _, stop in before))


def orient(array: NDArray[Any], order: tuple[int, ...], flips: tuple[bool, ...]) -> NDArray[Any]:
    """Return a contiguous array with its last axes permuted, then reversed."""
    leading = array.ndim - len(order)
    turned = array.transpose(*range(leading), *(leading + axis for axis in order))
    return np.ascontiguousarray(np.flip(turned, tuple(leading + axis for axis, flip in enumerate(flips) if flip)))
