"""Affines of grids: from other orders of rows and columns and back, and between array indices and the world.

The affine of a grid is a homogeneous matrix from the array index of a cell's *center*, slowest axis first, to world
coordinates, x first. Others count from the corner of the first cell (GDAL) or have the fastest axis first (NIfTI); only
this module knows how these become each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import product
from math import sqrt
from operator import add

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = tuple[tuple[float, ...], ...]
"""A homogeneous matrix, row by row."""
Floats = NDArray[np.float64]

_REVERSED = (2, 1, 0, 3)
"""Columns of the affine of a volume, `(z, y, x, offset)`, in the order `(i, j, k, offset)` of NIfTI, and back."""
_FLATTEST = 1e-6


def as_matrix(array: Floats) -> Matrix:
    """A matrix as plain numbers, which can be compared, hashed and written as JSON."""
    return tuple(tuple(float(value) for value in row) for row in array)


def from_transform(transform: Sequence[float]) -> Matrix:
    """The affine of a scene from GDAL's transform of cell corners, `(a, b, c, d, e, f)` as rasterio orders it."""
    a, b, c, d, e, f = transform
    return ((b, a, c + (a + b) / 2), (e, d, f + (d + e) / 2), (0.0, 0.0, 1.0))


def to_transform(affine: Matrix) -> list[float]:
    """GDAL's transform of cell corners, `[a, b, c, d, e, f]` as rasterio orders it, from the affine of a scene."""
    (b, a, x), (e, d, y), _ = affine
    return [a, b, x - (a + b) / 2, d, e, y - (d + e) / 2]


def from_geotransform(geotransform: Sequence[float]) -> list[float]:
    """A transform as rasterio orders it, `[a, b, c, d, e, f]`, from GDAL's own order `(c, a, b, f, d, e)`."""
    c, a, b, f, d, e = geotransform
    return [a, b, c, d, e, f]


def to_geotransform(transform: Sequence[float]) -> list[float]:
    """A transform in GDAL's own order, `[c, a, b, f, d, e]`, from rasterio's order `(a, b, c, d, e, f)`."""
    a, b, c, d, e, f = transform
    return [c, a, b, f, d, e]


def from_ijk(matrix: Floats) -> Matrix:
    """The affine of a volume from one of NIfTI, `(4, 4)`, whose columns are i, j, k and the offset."""
    return as_matrix(matrix[:, _REVERSED])


def to_ijk(affine: Matrix) -> Floats:
    """The affine of a volume as NIfTI has it, `(4, 4)`, with the columns i, j, k and the offset."""
    return np.array(affine)[:, _REVERSED]


def from_directions(directions: ArrayLike, origin: ArrayLike, signs: tuple[int, int, int] = (1, 1, 1)) -> Matrix:
    """The affine of a volume from the step of each axis, `(3, 3)` with that of the fastest axis in the first row.

    `origin` is the center of the first voxel. World coordinates are multiplied by `signs`: those of LPS become RAS+ by
    `(-1, -1, 1)`.
    """
    matrix = np.eye(4)
    matrix[:3] = np.c_[np.transpose(directions), origin] * np.reshape(signs, (3, 1)) + 0.0
    return from_ijk(matrix)


def from_spacing(spacing: Sequence[float], origin: Sequence[float]) -> Matrix:
    """The affine of cells whose axes are those of the world; `spacing` and `origin` are in array order, x last."""
    matrix = np.eye(len(spacing) + 1)
    matrix[:-1, :-1] = np.diag(spacing)[::-1]
    matrix[:-1, -1] = origin[::-1]
    return as_matrix(matrix)


def linear(affine: Matrix) -> Floats:
    """The step of each array axis in the world, `(axes, axes)`: one column per array axis."""
    return np.array(affine)[:-1, :-1]


def offset(affine: Matrix) -> Floats:
    """World coordinates `(axes,)` of the center of the first cell."""
    return np.array(affine)[:-1, -1]


def spacing_of(affine: Matrix) -> tuple[float, ...]:
    """World length of one cell along each array axis."""
    size = len(affine) - 1
    return tuple(sqrt(sum(affine[row][axis] ** 2 for row in range(size))) for axis in range(size))


def cell_volume(affine: Matrix) -> float:
    """What one cell holds: an area in a scene, a volume in a volume, in units of the world."""
    if len(affine) == 3:
        (a, b, _), (d, e, _), _ = affine
        return abs(a * e - b * d)
    return abs(float(np.linalg.det(linear(affine))))


def is_flat(directions: Floats) -> bool:
    """Whether axes, the columns of `(axes, axes)`, lie in one plane or nearly: they can't be told apart."""
    return bool(abs(np.linalg.det(directions / np.linalg.norm(directions, axis=0))) < _FLATTEST)


def is_upright(affine: Matrix) -> bool:
    """Whether the rows and columns of a scene follow the axes of the world: its coordinates are then two vectors."""
    return affine[0][0] == 0 and affine[1][1] == 0


def axis_coordinates(affine: Matrix, axis: int, size: int) -> Floats:
    """World coordinates `(size,)` of the cell centers along one array axis of an upright scene."""
    row = affine[1 - axis]
    return np.asarray(row[2] + row[axis] * np.arange(size), np.float64)


def to_world(affine: Matrix, index: Floats) -> Floats:
    """World coordinates `(axes, ...)` of array indices `(axes, ...)`.

    Terms are added in the order of the array axes, the offset last.
    """
    return np.stack([_along(row, index) for row in affine[:-1]])


def _along(row: Sequence[float], index: Floats) -> Floats:
    total = reduce(add, (factor * part for factor, part in zip(row[:-1], index, strict=True)))
    return np.asarray(total + row[-1], np.float64)


def points_to_world(affine: Matrix, points: Floats) -> Floats:
    """World coordinates `(n, axes)` of array indices `(n, axes)`, as one matrix product.

    The product may be fused, so that the last digit can differ from that of `to_world` where a grid is rotated.
    """
    return np.asarray(points @ linear(affine).T + offset(affine), np.float64)


def to_index(affine: Matrix, world: Floats) -> Floats:
    """Array indices `(axes, ...)` of world coordinates `(axes, ...)`, by the inverse matrix: for many points."""
    inverse = np.linalg.inv(linear(affine))
    return np.asarray(np.einsum("ij,j...->i...", inverse, _from_offset(affine, world)), np.float64)


def solve_index(affine: Matrix, world: Floats) -> Floats:
    """Array indices `(axes, n)` or `(axes,)` of world coordinates of that shape, by solving: for outlines and offsets.

    The last digit can differ from that of `to_index`, and what is told from others by its digits goes through here.
    """
    return np.asarray(np.linalg.solve(linear(affine), _from_offset(affine, world)), np.float64)


def _from_offset(affine: Matrix, world: Floats) -> Floats:
    return np.stack([part - row[-1] for part, row in zip(world, affine[:-1], strict=True)])


def relative(affine: Matrix, other: Matrix) -> Floats:
    """The homogeneous matrix from array indices under `affine` to array indices under `other`."""
    return np.asarray(np.linalg.solve(np.array(other), np.array(affine)), np.float64)


def shifted(affine: Matrix, start: Sequence[int]) -> Matrix:
    """The affine with cells counted from the one at `start`; the start's terms are added to the offset one by one."""
    return (*((*row[:-1], _shifted(row, start)) for row in affine[:-1]), affine[-1])


def _shifted(row: Sequence[float], start: Sequence[int]) -> float:
    return reduce(add, (factor * steps for factor, steps in zip(row[:-1], start, strict=True)), row[-1])


def shifted_transform(transform: Sequence[float], start: tuple[int, int]) -> list[float]:
    """A transform as rasterio orders it, with cells counted from the row and column `start`."""
    a, b, c, d, e, f = transform
    (a, b, c), (d, e, f), _ = shifted(((a, b, c), (d, e, f), (0.0, 0.0, 1.0)), start[::-1])
    return [a, b, c, d, e, f]


def from_pixels(pixels: Floats) -> Floats:
    """Array indices `(2, n)` of GDAL's pixel coordinates `(n, 2)`: columns and rows, from the corner of the first."""
    return pixels.T[::-1] - 0.5


def to_pixels(index: Floats) -> Floats:
    """GDAL's pixel coordinates `(n, 2)`, columns and rows from the corner of the first, of array indices `(2, n)`."""
    return (index[::-1] + 0.5).T


def corner_distance(shape: Sequence[int], one: ArrayLike, other: ArrayLike) -> float:
    """The farthest that two homogeneous matrices put a corner cell of an array of `shape` apart, in world units."""
    corners = np.array([(*corner, 1) for corner in product(*((0, length - 1) for length in shape))])
    shifts = corners @ (np.array(one) - np.array(other)).T
    return float(np.linalg.norm(shifts, axis=1).max())
