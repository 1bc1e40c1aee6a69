"""Volumes in the viewer: what there is, and its voxels as NIfTI, in a size that a browser can hold."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.classes import hex_color
from pipeline.engine import Source
from pipeline.errors import PipelineError, RequestError
from pipeline.files.visible import visible
from pipeline.geometry import Box, Grid
from pipeline.geometry.affine import as_matrix
from pipeline.geometry.orientation import orientation_of
from pipeline.io.volume.nifti_write import image_header
from pipeline.masks.paint import RAMP
from pipeline.viewer.layers import Layer, Layers, described_classes

MOST_VOXELS = 1 << 26
"""Most voxels that are sent to a browser: 512 x 512 x 256."""
_SLICES = 1 << 22
"""Voxels that are read at a time, at least one slice."""
_SENT = ("u1", "i2", "u2", "i4", "f4", "f8")
"""Types of voxels that NiiVue reads."""


def steps_for(shape: tuple[int, ...], spacing: tuple[float, ...], most: int = MOST_VOXELS) -> tuple[int, ...]:
    """Return the step along each axis by which a volume is thinned to at most `most` voxels.

    The axis with the closest voxels is thinned first, so that what is left is as even as it can be.

    >>> steps_for((400, 512, 512), (1.0, 0.5, 0.5), 1 << 26)
    (1, 1, 2)
    """
    steps = [1] * len(shape)
    while prod(map(ceil, (side / step for side, step in zip(shape, steps, strict=True)))) > most:
        lengths = [step * length for step, length in zip(steps, spacing, strict=True)]
        free = [axis for axis, side in enumerate(shape) if steps[axis] < side]
        steps[min(free, key=lambda axis: (lengths[axis], -axis))] += 1
    return tuple(steps)


def thinned(grid: Grid, steps: tuple[int, ...]) -> Grid:
    """Return the grid of every n-th voxel, from the first: each stays where it is in the world."""
    matrix = np.array(grid.affine)
    matrix[:, :-1] *= steps
    shape = tuple(ceil(side / step) for side, step in zip(grid.shape, steps, strict=True))
    return grid if set(steps) == {1} else Grid(shape, as_matrix(matrix), grid.axes, grid.crs)


class VolumeView:
    """Volumes on one grid."""

    def __init__(self, layers: Layers, most: int = MOST_VOXELS) -> None:
        """Begin; at most `most` voxels of each are sent."""
        self._layers = layers
        self.grid = layers.shown[0].source.grid
        self._steps = steps_for(self.grid.shape, self.grid.spacing, most)
        self._problems: list[str] = []

    def info(self) -> dict[str, Any]:
        """Return what a page needs to know, as JSON values."""
        return {
            "kind": "volume",
            "shape": list(self.grid.shape),
            "spacing": list(self.grid.spacing),
            "orientation": orientation_of(self.grid),
            "steps": list(self._steps),
            "from_world": np.linalg.inv(np.array(self.grid.affine))[:-1].tolist(),
            "layers": [self._described(layer) for layer in self._layers.shown],
            "notes": list(self._layers.notes),
        }

    def state(self) -> dict[str, Any]:
        """Return that all is there, and what could not be read when it was sent."""
        return {"progress": [1.0] * len(self._layers.shown), "problems": list(map(visible, self._problems))}

    def nifti(self, layer: int) -> tuple[int, Iterator[bytes]]:
        """Return a layer as an uncompressed NIfTI file: its size, and its parts in order."""
        if not 0 <= layer < len(self._layers.shown):
            raise RequestError(f"there is no layer {layer}; there are {len(self._layers.shown)}")
        shown = self._layers.shown[layer]
        source, kind = shown.source, _sent_as(shown)
        header = image_header(thinned(source.grid, self._steps), kind)
        shape = thinned(source.grid, self._steps).shape
        return len(header) + prod(shape) * kind.itemsize, self._parts(header, shown, kind)

    def close(self) -> None:
        """Close all files."""
        self._layers.close()

    def _described(self, layer: Layer) -> dict[str, Any]:
        """Return what is known of a layer; values are in the colors of a ramp, and off at first over a mask."""
        said = {"name": layer.name, "kind": layer.kind, "dtype": layer.source.dtype.name, **described_classes(layer)}
        covers = any(other.kind == "mask" for other in self._layers.shown)
        return {**said, "ramp": list(map(hex_color, RAMP)), "off": covers} if layer.kind == "values" else said

    def _parts(self, header: bytes, shown: Layer, kind: np.dtype[Any]) -> Iterator[bytes]:
        yield header
        (down, *_), (slices, *across) = self._steps, self.grid.shape
        height = down * max(1, _SLICES // (down * prod(across)))
        for top in range(0, slices, height):
            values = self._read(shown.source, Box((top, 0, 0), (min(top + height, slices), *across)))
            thin = values[tuple(slice(None, None, step) for step in self._steps)]
            yield np.ascontiguousarray(_scaled(thin, shown.scaling), kind).tobytes()

    def _read(self, source: Source, box: Box) -> NDArray[np.generic]:
        try:
            found: NDArray[np.generic] = source.read(box).values[0]
        except PipelineError as error:
            self._problems = [*dict.fromkeys([*self._problems, str(error)])]
            raise
        return found


def _sent_as(layer: Layer) -> np.dtype[Any]:
    """Return the smallest type that NiiVue reads and that holds all values of a layer; else float64."""
    dtype = layer.source.dtype if layer.scaling is None else np.dtype(np.float32)
    fitting = (np.dtype(f"<{name}") for name in _SENT)
    return next((kind for kind in fitting if np.can_cast(dtype, kind, "safe")), np.dtype("<f8"))


def _scaled(values: NDArray[Any], scaling: tuple[float, float] | None) -> NDArray[Any]:
    """Return shares of steps, NaN where nothing was observed; other values as they are."""
    if scaling is None:
        return values
    shares = values * np.float32(scaling[0]) + np.float32(scaling[1])
    return np.where(values > 0, shares, np.float32(np.nan))
