"""Distances between the surfaces of two masks of a volume, in millimeters.

A surface is made of the voxels of a mask with a face on something else, the end of the volume included, and a distance
leads from the center of one to the closest of the other mask. HD95 is the larger of the 95th percentiles of both
directions, the maximum distance the largest of all, ASSD the mean of both together, and surface Dice the share of both
surfaces within a tolerance: the definitions of MONAI.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from pipeline.geometry import Grid
from pipeline.geometry.affine import linear

_ROUNDING = 1e-6
"""Share by which a distance may be above the tolerance: headers hold spacings in float32."""


@dataclass(frozen=True)
class Distances:
    """Millimeters from each surface voxel of one mask to the closest one of the other, in both directions."""

    from_truth: NDArray[np.float64]
    from_prediction: NDArray[np.float64]

    @property
    def hd95(self) -> float:
        """95th percentile of the Hausdorff distance, in millimeters."""
        return float(max(np.percentile(self.from_truth, 95), np.percentile(self.from_prediction, 95)))

    @property
    def assd(self) -> float:
        """Average symmetric surface distance: the mean over the voxels of both surfaces, in millimeters."""
        return float(np.concatenate([self.from_truth, self.from_prediction]).mean())

    @property
    def maximum(self) -> float:
        """Hausdorff distance: the largest distance in either direction, in millimeters."""
        return float(max(self.from_truth.max(), self.from_prediction.max()))

    def surface_dice(self, tolerance: float) -> float:
        """Share of both surfaces that lies within `tolerance` millimeters of the other."""
        both = np.concatenate([self.from_truth, self.from_prediction])
        return float((both <= tolerance * (1 + _ROUNDING)).mean())


def distances(truth: NDArray[np.bool_], prediction: NDArray[np.bool_], grid: Grid) -> Distances:
    """Distances between the surfaces of two masks of `grid`, of which neither is empty."""
    one, other = (surface(mask) @ linear(grid.affine).T for mask in (truth, prediction))
    return Distances(KDTree(other).query(one)[0], KDTree(one).query(other)[0])


def surface(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Indices `(n, axes)` of the voxels of `mask` with a face on something else."""
    corner, cut = _foreground(mask)
    inner = cut.copy()
    for axis in range(mask.ndim):
        line = np.moveaxis(cut, axis, 0)
        within = np.moveaxis(inner, axis, 0)
        within[1:] &= line[:-1]
        within[:-1] &= line[1:]
        within[[0, -1]] = False
    return np.argwhere(cut & ~inner) + corner


def _foreground(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The first index of the smallest box around a mask, and the mask in it."""
    spans = []
    for axis in range(mask.ndim):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        spans.append((filled[0], filled[-1] + 1))
    return np.array([start for start, _ in spans]), mask[tuple(slice(*span) for span in spans)]
