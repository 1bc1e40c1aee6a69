"""A volume seen along another axis: permuted and reversed, never resampled. NumPy only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.protocols import Pixels, Source
from pipeline.errors import RequestError
from pipeline.geometry import Box, Grid

Orientation = tuple[tuple[int, ...], tuple[bool, ...]]
"""Order and flips: axis `a` of a view is axis `order[a]` of its source, reversed where `flips[a]`."""

_LETTERS = {"R": (0, True), "L": (0, False), "A": (1, True), "P": (1, False), "S": (2, True), "I": (2, False)}
"""By letter: the world axis, and whether it grows towards that side (RAS+)."""
_VIEWS = {"axial": (2, 1, 0), "coronal": (1, 2, 0), "sagittal": (0, 2, 1)}
"""By view: which letters of an orientation the sweep, the rows and the columns follow."""


class Reoriented(Source):
    """A `Source` whose axes are a permutation and reversal of another's; each cell stays where it is in the world.

    Axes keep their names by place: the first is the one that is swept. The grid carries no file's own words for its
    geometry, for they tell of the other one.
    """

    def __init__(self, source: Source, order: tuple[int, ...], flips: tuple[bool, ...]) -> None:
        shape = source.grid.shape
        if sorted(order) != list(range(len(shape))) or len(flips) != len(shape):
            raise RequestError(f"order {order} and flips {flips} do not name each axis of {source.grid.axes} once")
        self.source = source
        self.order = order
        self.flips = flips
        grid = turned_grid(source.grid, order, flips)
        self.info = replace(source.info, grid=grid, block=tuple(source.block[axis] for axis in order))

    def read(self, box: Box) -> Pixels:
        """Pixels of `box`, which is given in this view's axes."""
        values, valid = self.source.read(self.to_source(box))
        return Pixels(
            _orient(values, self.order, self.flips),
            None if valid is None else _orient(valid, self.order, self.flips),
        )

    def close(self) -> None:
        """Close the source."""
        self.source.close()

    def to_source(self, box: Box) -> Box:
        """The cells of `box`, given in this view's axes, as a box of the source."""
        spans = [
            (size - stop, size - start) if flip else (start, stop)
            for start, stop, size, flip in zip(box.start, box.stop, self.grid.shape, self.flips, strict=True)
        ]
        by_source = [spans[axis] for axis in inverse(self.order, self.flips)[0]]
        return Box(tuple(start for start, _ in by_source), tuple(stop for _, stop in by_source))

    def orient_back(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array of this view's axes, after any leading ones, in the source's axes: what belongs at `to_source`."""
        return _orient(array, *inverse(self.order, self.flips))


def inverse(order: tuple[int, ...], flips: tuple[bool, ...]) -> Orientation:
    """The order and flips that undo these."""
    back = tuple(order.index(axis) for axis in range(len(order)))
    return back, tuple(flips[axis] for axis in back)


def canonical(grid: Grid, view: str = "axial", *, orientation: str = "RAS") -> Orientation:
    """The order and flips that turn a volume to one same orientation, however its file is stored.

    "axial" gives the axes (z, y, x), with x growing towards the first letter of `orientation`, y towards the second and
    z towards the third; "coronal" sweeps y with rows z and columns x, "sagittal" sweeps x with rows z and columns y.
    An oblique volume is turned by whole axes to the closest. Raises RequestError for a word it does not know.
    """
    if grid.is_scene:
        raise RequestError(f"a scene of shape {grid.shape} has no {view} view; give a volume")
    if view not in _VIEWS:
        raise RequestError(f"unknown view {view!r}; choose one of {', '.join(_VIEWS)}")
    if sorted(_LETTERS.get(letter, (-1, True))[0] for letter in orientation) != [0, 1, 2]:
        raise RequestError(f"unknown orientation {orientation!r}; give one of R/L, A/P and S/I each, for instance RAS")
    nearest = _nearest_axes(grid)
    wanted = [_LETTERS[orientation[place]] for place in _VIEWS[view]]
    order = tuple(nearest[world][0] for world, _ in wanted)
    return order, tuple(nearest[world][1] != grows for world, grows in wanted)


def orientation_of(grid: Grid) -> str:
    """Where the axes x, y and z of a volume grow towards, as three letters: "RAS", "LPS" and so on."""
    towards = {axis: letters[grows] for (axis, grows), letters in zip(_by_world(grid), ("LR", "PA", "IS"), strict=True)}
    return "".join(towards[axis] for axis in (2, 1, 0))


def _by_world(grid: Grid) -> list[tuple[int, bool]]:
    nearest = _nearest_axes(grid)
    return [nearest[world] for world in range(3)]


def _nearest_axes(grid: Grid) -> dict[int, tuple[int, bool]]:
    """By world axis: the array axis that runs closest to it, and whether they grow together."""
    matrix = np.array(grid.affine)[:3, :3]
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
    """A grid whose axes are a permutation and reversal of another's; each cell stays where it is in the world."""
    shape = tuple(grid.shape[axis] for axis in order)
    to_source = np.zeros((len(order) + 1, len(order) + 1))
    to_source[-1, -1] = 1
    for axis, (target, flip) in enumerate(zip(order, flips, strict=True)):
        to_source[target, axis] = -1 if flip else 1
        to_source[target, -1] = shape[axis] - 1 if flip else 0
    affine = np.array(grid.affine) @ to_source
    return Grid(shape, tuple(tuple(float(v) for v in row) for row in affine), grid.axes, grid.crs)


def _orient(array: NDArray[Any], order: tuple[int, ...], flips: tuple[bool, ...]) -> NDArray[Any]:
    """`array` with its last axes permuted, then reversed; contiguous."""
    leading = array.ndim - len(order)
    turned = array.transpose(*range(leading), *(leading + axis for axis in order))
    return np.ascontiguousarray(np.flip(turned, tuple(leading + axis for axis, flip in enumerate(flips) if flip)))
