"""The grid of an image: the number of cells, and where each of them is in the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.geometry.affine import Matrix, cell_volume, corner_distance, from_transform, spacing_of

SAME_GRID_TOLERANCE = 0.01
"""Largest distance between the corners of equal grids, in cells: headers are rounded."""


@dataclass(frozen=True)
class Grid:
    """Shape and location of an image, independent of its file format.

    Scenes have the axes `("y", "x")`, volumes `("z", "y", "x")`.

    >>> Grid((2, 3), ((0, 5, 0), (-5, 0, 0), (0, 0, 1)), ("y", "x")).spacing
    (5.0, 5.0)
    """

    shape: tuple[int, ...]
    """Cells per axis, in array order."""
    affine: Matrix
    """Homogeneous matrix: array index of a cell's *center*, in array order, to world `(x, y)` or `(x, y, z)`."""
    axes: tuple[str, ...]
    """Name per axis, in array order."""
    crs: str | None = None
    """CRS of a scene as WKT or authority code; None where unknown. Volumes are in millimeters, RAS+."""
    reference: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """The same geometry in the terms of the file format (JSON values), kept so that it is written back exactly."""

    def __post_init__(self) -> None:
        side = len(self.shape) + 1
        if len(self.axes) != len(self.shape):
            raise ValueError(f"a grid of shape {self.shape} needs one axis name per dimension, got {self.axes}")
        if len(self.affine) != side or any(len(row) != side for row in self.affine):
            raise ValueError(f"a grid of shape {self.shape} needs an affine of {side} x {side}, got {self.affine}")
        if any(n < 1 for n in self.shape):
            raise ValueError(f"a grid needs at least one cell per axis, got {self.shape}")

    @classmethod
    def from_transform(cls, shape: tuple[int, int], transform: Sequence[float], crs: str | None = None) -> Grid:
        """Return the grid of a scene by the transform of rasterio, of cell corners: `(a, b, c, d, e, f)`.

        >>> Grid.from_transform((2, 3), (5, 0, 100, 0, -5, 200), "EPSG:32632").affine[0]
        (0, 5, 102.5)
        """
        return cls(shape, from_transform(tuple(transform)[:6]), ("y", "x"), crs)

    @property
    def is_scene(self) -> bool:
        """Whether this is a two-dimensional scene; a volume otherwise."""
        return len(self.shape) == 2

    def max_corner_distance(self, other: Grid) -> float:
        """Return the largest distance between the corners of two grids of the same shape, in cells of this one."""
        return corner_distance(self.shape, self.affine, other.affine) / min(self.spacing)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Length of one cell along each array axis, in world units."""
        return spacing_of(self.affine)

    @property
    def cell_volume(self) -> float:
        """The area of a pixel, or the volume of a voxel, in world units."""
        return cell_volume(self.affine)


def difference(one: Grid, other: Grid) -> str | None:
    """Describe how two grids differ beyond the rounding of headers, with both values; None: they are the same."""
    if one.shape != other.shape:
        return f"their shapes differ, {one.shape} and {other.shape}"
    if one.max_corner_distance(other) <= SAME_GRID_TOLERANCE:
        return None
    spacings, affines = ([describe(grid) for grid in (one, other)] for describe in (_spacing, _rows))
    place = "their cells are in different places"
    if spacings[0] != spacings[1]:
        return (
            f"{place}, spacing {spacings[0]} and {spacings[1]}, affine {affines[0]} and {affines[1]} "
            "(array order, cell centers)"
        )
    return f"{place}: {'; '.join(_differing(one, other))} (array order, cell centers)"


def _differing(one: Grid, other: Grid) -> list[str]:
    """The origins and the directions of two grids, as far as they differ."""
    found = {name: [describe(grid) for grid in (one, other)] for name, describe in _PLACES.items()}
    differing = [f"{name} {pair[0]} and {pair[1]}" for name, pair in found.items() if pair[0] != pair[1]]
    return differing or [f"affine {_rows(one)} and {_rows(other)}"]


def _spacing(grid: Grid) -> list[float]:
    return [round(length, 4) for length in grid.spacing]


def _rows(grid: Grid) -> list[list[float]]:
    return [[float(f"{value:.10g}") for value in row] for row in grid.affine[:-1]]


def _origin(grid: Grid) -> list[float]:
    return [round(row[-1], 6) for row in grid.affine[:-1]]


def _directions(grid: Grid) -> list[list[float]]:
    return [[round(value, 6) for value in row[:-1]] for row in grid.affine[:-1]]


_PLACES = {"origin": _origin, "directions": _directions}
