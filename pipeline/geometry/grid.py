"""The grid of an image: how many cells, and where each lies in the world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from math import sqrt
from typing import Any

import numpy as np

CLOSE = 0.01
"""Cells by which the corners of two grids may lie apart: what the rounding of headers makes of one grid."""
Matrix = tuple[tuple[float, ...], ...]


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

    def apart(self, other: Grid) -> float:
        """How far the corners of this and another grid of the same shape lie apart, in cells of this one."""
        corners = np.array([(*corner, 1) for corner in product(*((0, length - 1) for length in self.shape))])
        shifts = corners @ (np.array(self.affine) - np.array(other.affine)).T
        return float(np.linalg.norm(shifts, axis=1).max() / min(self.spacing))

    @property
    def spacing(self) -> tuple[float, ...]:
        """World length of one cell along each array axis, in the units of the world."""
        size = len(self.shape)
        return tuple(sqrt(sum(self.affine[row][axis] ** 2 for row in range(size))) for axis in range(size))
