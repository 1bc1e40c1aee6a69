"""The grid of an image: how many cells, and where each lies in the world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.geometry.affine import Matrix, cell_volume, corner_distance, spacing_of

SAME_GRID_TOLERANCE = 0.01
"""Cells by which the corners of two grids may lie apart: what the rounding of headers makes of one grid."""


@dataclass(frozen=True)
class Grid:
    """Shape and place of an image, whatever file it lies in.

    Scenes have the axes `("y", "x")`, volumes `("z", "y", "x")`.
    """

    shape: tuple[int, ...]
    """Cells per axis, in array order."""
    affine: Matrix
    """Homogeneous matrix: array index of a cell's *centre*, in array order, to world `(x, y)` or `(x, y, z)`."""
    axes: tuple[str, ...]
    """Name per axis, in array order."""
    crs: str | None = None
    """Coordinate system of a scene as WKT or authority code; None where unknown. Volumes are in millimetres, RAS+."""
    reference: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """The file family's own words for the same geometry (JSON values), kept so that it is written back exactly."""

    def __post_init__(self) -> None:
        side = len(self.shape) + 1
        if len(self.axes) != len(self.shape):
            raise ValueError(f"a grid of shape {self.shape} cannot have the axes {self.axes}")
        if len(self.affine) != side or any(len(row) != side for row in self.affine):
            raise ValueError(f"a grid of shape {self.shape} needs an affine of {side} x {side}, got {self.affine}")
        if any(n < 1 for n in self.shape):
            raise ValueError(f"a grid needs at least one cell per axis, got {self.shape}")

    @property
    def is_scene(self) -> bool:
        """Whether this is a two-dimensional scene; a volume otherwise."""
        return len(self.shape) == 2

    def max_corner_distance(self, other: Grid) -> float:
        """How far the corners of this and another grid of the same shape lie apart, in cells of this one."""
        return corner_distance(self.shape, self.affine, other.affine) / min(self.spacing)

    @property
    def spacing(self) -> tuple[float, ...]:
        """World length of one cell along each array axis, in the units of the world."""
        return spacing_of(self.affine)

    @property
    def cell_volume(self) -> float:
        """What one cell holds, in units of the world: the area of a pixel, the volume of a voxel."""
        return cell_volume(self.affine)


def difference(one: Grid, other: Grid) -> str | None:
    """In what two grids differ, beyond the rounding of headers, with the values of both; None: they are the same."""
    if one.shape != other.shape:
        return f"their shapes differ, {one.shape} and {other.shape}"
    if one.max_corner_distance(other) <= SAME_GRID_TOLERANCE:
        return None
    spacings, affines = ([describe(grid) for grid in (one, other)] for describe in (_spacing, _rows))
    return (
        f"their cells lie in different places, spacing {spacings[0]} and {spacings[1]}, affine {affines[0]} and "
        f"{affines[1]} (array order, cell centers)"
    )


def _spacing(grid: Grid) -> list[float]:
    return [round(length, 4) for length in grid.spacing]


def _rows(grid: Grid) -> list[list[float]]:
    return [[float(f"{value:.10g}") for value in row] for row in grid.affine[:-1]]
