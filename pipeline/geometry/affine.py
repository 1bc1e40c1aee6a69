"""Affines of grids: conversion from and to the conventions of GDAL and NIfTI, and between indices and the world.

The affine of a grid is a homogeneous matrix from the array index of a cell's *center*, slowest axis first, to world
coordinates, x first. GDAL counts from the corner of the first cell, and NIfTI has the fastest axis first; only this
module converts between these.
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
"""A homogeneous matrix `(axes + 1, axes + 1)`, row by row."""
Floats = NDArray[np.float64]

_REVERSED = (2, 1, 0, 3)
"""Columns of the affine of a volume, `(z, y, x, offset)`, in the order `(i, j, k, offset)` of NIfTI, and back."""
_SMALLEST_DETERMINANT = 1e-6


def as_matrix(array: Floats) -> Matrix:
    """Convert an array to plain numbers, which can be compared, hashed and written as JSON."""
    return tuple(tuple(float(value) for value in row) for row in array)


def from_transform(transform: Sequence[float]) -> Matrix:
    """Return the affine of a scene from the transform of cell corners in rasterio's order, `(a, b, c, d, e, f)`.

    >>> from_transform((10, 0, 500, 0, -10, 900))
    ((0, 10, 505.0), (-10, 0, 895.0), (0.0, 0.0, 1.0))
    """
    a, b, c, d, e, f = transform
    return ((b, a, c + (a + b) / 2), (e, d, f + (d + e) / 2), (0.0, 0.0, 1.0))


def to_transform(affine: Matrix) -> list[float]:
    """Return the transform of cell corners in rasterio's order, `[a, b, c, d, e, f]`, from the affine of a scene.

    >>> to_transform(((0, 10, 505), (-10, 0, 895), (0, 0, 1)))
    [10, 0, 500.0, 0, -10, 900.0]
    """
    (b, a, x), (e, d, y), _ = affine
    return [a, b, x - (a + b) / 2, d, e, y - (d + e) / 2]


def from_geotransform(geotransform: Sequence[float]) -> list[float]:
    """Return a transform in rasterio's order, `[a, b, c, d, e, f]`, from GDAL's, `(c, a, b, f, d, e)`."""
    c, a, b, f, d, e = geotransform
    return [a, b, c, d, e, f]


def to_geotransform(transform: Sequence[float]) -> list[float]:
    """Return a transform in GDAL's order, `[c, a, b, f, d, e]`, from rasterio's, `(a, b, c, d, e, f)`."""
    a, b, c, d, e, f = transform
    return [c, a, b, f, d, e]


def from_ijk(matrix: Floats) -> Matrix:
    """Return the affine of a volume from that of NIfTI, `(4, 4)`, with the columns i, j, k and the offset."""
    return as_matrix(matrix[:, _REVERSED])


def to_ijk(affine: Matrix) -> Floats:
    """Return the NIfTI affine of a volume, `(4, 4)`, with the columns i, j, k and the offset."""
    return np.array(affine)[:, _REVERSED]


def from_directions(directions: ArrayLike, origin: ArrayLike, signs: tuple[int, int, int] = (1, 1, 1)) -> Matrix:
    """Return the affine of a volume from the step of each axis, `(3, 3)`, the fastest axis in the first row.

    `origin` is the center of the first voxel. World coordinates are multiplied by `signs`: `(-1, -1, 1)` turns LPS
    into RAS+.
    """
    matrix = np.eye(4)
    matrix[:3] = np.c_[np.transpose(directions), origin] * np.reshape(signs, (3, 1)) + 0.0
    return from_ijk(matrix)


def to_directions(affine: Matrix, signs: tuple[int, int, int] = (1, 1, 1)) -> tuple[Floats, Floats]:
    """Return the step of each axis of a volume, `(3, 3)`, the fastest axis in the first row, and its origin, `(3,)`.

    World coordinates are multiplied by `signs`, as by `from_directions`.
    """
    world = np.array(affine)[:3] * np.array(signs)[:, None] + 0.0  # no -0.0
    return world[:, 2::-1].T, world[:, 3]


def from_spacing(spacing: Sequence[float], origin: Sequence[float]) -> Matrix:
    """Return an affine without rotation; `spacing` and `origin` are in array order, x last.

    >>> from_spacing((2, 1), (20, 10))
    ((0.0, 1.0, 10.0), (2.0, 0.0, 20.0), (0.0, 0.0, 1.0))
    """
    matrix = np.eye(len(spacing) + 1)
    matrix[:-1, :-1] = np.diag(spacing)[::-1]
    matrix[:-1, -1] = origin[::-1]
    return as_matrix(matrix)


def linear(affine: Matrix) -> Floats:
    """Return the step of each array axis in the world, `(axes, axes)`, one column per array axis."""
    return np.array(affine)[:-1, :-1]


def offset(affine: Matrix) -> Floats:
    """Return the world coordinates `(axes,)` of the center of the first cell."""
    return np.array(affine)[:-1, -1]


def spacing_of(affine: Matrix) -> tuple[float, ...]:
    """Return the world length of one cell along each array axis.

    >>> spacing_of(((0, 3, 0), (-4, 4, 0), (0, 0, 1)))
    (4.0, 5.0)
    """
    size = len(affine) - 1
    return tuple(sqrt(sum(affine[row][axis] ** 2 for row in range(size))) for axis in range(size))


def cell_volume(affine: Matrix) -> float:
    """Return the area of a pixel, or the volume of a voxel, in world units."""
    if len(affine) == 3:
        (a, b, _), (d, e, _), _ = affine
        return abs(a * e - b * d)
    return abs(float(np.linalg.det(linear(affine))))


def is_flat(directions: Floats) -> bool:
    """Return whether the axes, columns of `(axes, axes)`, are linearly dependent or nearly so."""
    return bool(abs(np.linalg.det(directions / np.linalg.norm(directions, axis=0))) < _SMALLEST_DETERMINANT)


def is_upright(affine: Matrix) -> bool:
    """Return whether rows and columns of a scene follow the world axes: its coordinates are then two vectors."""
    return affine[0][0] == 0 and affine[1][1] == 0


def axis_coordinates(affine: Matrix, axis: int, size: int) -> Floats:
    """Return the world coordinates `(size,)` of the cell centers along one array axis of an upright scene."""
    row = affine[1 - axis]
    return np.asarray(row[2] + row[axis] * np.arange(size), np.float64)


def to_world(affine: Matrix, index: Floats) -> Floats:
    """Return the world coordinates `(axes, ...)` of array indices `(axes, ...)`.

    Terms are added in the order of the array axes, the offset last.

    >>> to_world(((0, 10, 505), (-10, 0, 895), (0, 0, 1)), np.array([0.0, 2.0]))
    array([525., 895.])
    """
    return np.stack([_along(row, index) for row in affine[:-1]])


def _along(row: Sequence[float], index: Floats) -> Floats:
    total = reduce(add, (factor * part for factor, part in zip(row[:-1], index, strict=True)))
    return np.asarray(total + row[-1], np.float64)


def points_to_world(affine: Matrix, points: Floats) -> Floats:
    """Return the world coordinates `(n, axes)` of array indices `(n, axes)`, by one matrix product.

    The product may be fused, so for rotated grids the last digit can differ from that of `to_world`.
    """
    return np.asarray(points @ linear(affine).T + offset(affine), np.float64)


def to_index(affine: Matrix, world: Floats) -> Floats:
    """Return the array indices `(axes, ...)` of world coordinates `(axes, ...)`, by the inverse: for many points."""
    inverse = np.linalg.inv(linear(affine))
    return np.asarray(np.einsum("ij,j...->i...", inverse, _from_offset(affine, world)), np.float64)


def solve_index(affine: Matrix, world: Floats) -> Floats:
    """Return the array indices of world coordinates, `(axes, n)` or `(axes,)`, by solving: for outlines and offsets.

    The last digit can differ from that of `to_index`; use this where digits are compared or hashed.
    """
    return np.asarray(np.linalg.solve(linear(affine), _from_offset(affine, world)), np.float64)


def _from_offset(affine: Matrix, world: Floats) -> Floats:
    return np.stack([part - row[-1] for part, row in zip(world, affine[:-1], strict=True)])


def relative(affine: Matrix, other: Matrix) -> Floats:
    """Return the homogeneous matrix from array indices under `affine` to those under `other`."""
    return np.asarray(np.linalg.solve(np.array(other), np.array(affine)), np.float64)


def shifted(affine: Matrix, start: Sequence[int]) -> Matrix:
    """Return the affine with cells counted from the one at `start`, whose terms are added to the offset one by one.

    >>> shifted(((0, 10, 505), (-10, 0, 895), (0, 0, 1)), (1, 2))
    ((0, 10, 525), (-10, 0, 885), (0, 0, 1))
    """
    return (*((*row[:-1], _shifted(row, start)) for row in affine[:-1]), affine[-1])


def _shifted(row: Sequence[float], start: Sequence[int]) -> float:
    return reduce(add, (factor * steps for factor, steps in zip(row[:-1], start, strict=True)), row[-1])


def shifted_transform(transform: Sequence[float], start: tuple[int, int]) -> list[float]:
    """Return a transform in rasterio's order with cells counted from the row and column `start`."""
    a, b, c, d, e, f = transform
    (a, b, c), (d, e, f), _ = shifted(((a, b, c), (d, e, f), (0.0, 0.0, 1.0)), start[::-1])
    return [a, b, c, d, e, f]


def from_pixels(pixels: Floats) -> Floats:
    """Return the array indices `(2, n)` of GDAL's pixel coordinates `(n, 2)`: column and row, from the first corner."""
    return pixels.T[::-1] - 0.5


def to_pixels(index: Floats) -> Floats:
    """Return GDAL's pixel coordinates `(n, 2)`, column and row from the first corner, of array indices `(2, n)`."""
    return (index[::-1] + 0.5).T


def corner_distance(shape: Sequence[int], one: ArrayLike, other: ArrayLike) -> float:
    """Return the largest distance, in world units, that two affines give between the corner cells of `shape`."""
    corners = np.array([(*corner, 1) for corner in product(*((0, length - 1) for length in shape))])
    shifts = corners @ (np.array(one) - np.array(other)).T
    return float(np.linalg.norm(shifts, axis=1).max())
