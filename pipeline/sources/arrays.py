"""Arrays in memory as inputs: a NumPy array on a grid, and a DataArray of xarray, read box by box.

NumPy only: a DataArray is used through its own methods and the accessor `rio` of rioxarray.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.protocols import Pixels, Source, SourceInfo
from pipeline.errors import RequestError
from pipeline.geometry import Box, Grid
from pipeline.geometry.grid import SAME_GRID_TOLERANCE
from pipeline.sources.validity import valid_mask

_KINDS = {"b": "uint8", "f2": "float32", "f16": "float64"}
"""Types that are read as others, by kind or by kind and size."""
_UNEVEN = 0.01
"""Part of a step by which coordinates may be uneven: they are often rounded."""


class ArraySource(Source):
    """A NumPy array, or what is indexed like one (`np.memmap`, h5py), as an input.

    Args:
        values: Array `(channels, *grid.shape)`, or `grid.shape` for one channel, of integers, real numbers or truths.
        grid: Where its cells are.
        nodata: Value of cells without an observation; NaN always means that.
        version: A word that changes whenever the values do, by which a run is resumed; None: a run is not.

    Raises:
        RequestError: The array does not have the shape of the grid, or is not of numbers.

    """

    def __init__(
        self,
        values: Any,  # noqa: ANN401  (what is indexed like an array)
        grid: Grid,
        *,
        nodata: float | None = None,
        version: str | None = None,
    ) -> None:
        shape = tuple(values.shape)
        if shape[-len(grid.shape) :] != grid.shape or len(shape) - len(grid.shape) not in (0, 1):
            raise RequestError(
                f"the array has the shape {shape}, and its grid {grid.shape}; they must be the same, or the array must "
                "have one axis more, that of channels, before the others"
            )
        self._values, self._by_channel = values, len(shape) > len(grid.shape)
        self.info = SourceInfo(
            grid,
            shape[0] if self._by_channel else 1,
            _readable(values.dtype),
            (1, *grid.shape[1:]),
            nodata=nodata,
            version=version,
        )

    def read(self, box: Box) -> Pixels:
        """Read a copy of the cells of `box`."""
        cells = (slice(None), *box.slices) if self._by_channel else box.slices
        return _pixels(self._values[cells], self.info, box)

    def close(self) -> None:
        """Nothing is open: the array belongs to who made it."""


class DataArraySource(Source):
    """A DataArray of xarray with the axes y and x, and at most one more, as an input; read lazily, if it is lazy.

    Its place, CRS and nodata are those of rioxarray, which has to be imported. An axis of time or band is that of
    channels.

    Args:
        array: The DataArray.
        version: A word that changes whenever the values do, by which a run is resumed; None: a run is not.

    Raises:
        RequestError: It has no accessor `rio`, no axes x and y, several others, or uneven coordinates.

    """

    def __init__(self, array: Any, *, version: str | None = None) -> None:  # noqa: ANN401
        rio = _accessor(array)
        others = [axis for axis in array.dims if axis not in (rio.y_dim, rio.x_dim)]
        if len(others) > 1:
            raise RequestError(
                f"{_name(array)}: has the axes {', '.join(map(str, array.dims))}; there can be one beside "
                f"{rio.y_dim} and {rio.x_dim}, that of channels; select from the others with `.isel`"
            )
        for axis in (rio.y_dim, rio.x_dim):
            _check_even(array, axis)
        self._axes = (rio.y_dim, rio.x_dim)
        self._array = array.transpose(*others, *self._axes)
        self.info = SourceInfo(
            _grid_of(array, rio),
            array.sizes[others[0]] if others else 1,
            _readable(array.dtype),
            tuple(_chunk(self._array, axis) for axis in self._axes),
            nodata=None if rio.nodata is None else float(rio.nodata),
            path=_name(array),
            version=version,
        )

    def read(self, box: Box) -> Pixels:
        """Read the cells of `box`, which a lazy array computes now."""
        cells = self._array.isel(dict(zip(self._axes, box.slices, strict=True)))
        return _pixels(cells.values, self.info, box)

    def close(self) -> None:
        """Nothing is closed: the array belongs to who opened it."""


def _readable(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in which values are read."""
    if dtype.kind not in "buif":
        raise RequestError(
            f"the array is of {dtype}; it must be of integers or real numbers; convert it with `.astype`"
        )
    known = _KINDS.get(dtype.kind) or _KINDS.get(f"{dtype.kind}{dtype.itemsize}")
    return np.dtype(known) if known else dtype.newbyteorder("=")


def _pixels(found: NDArray[Any], info: SourceInfo, box: Box) -> Pixels:
    values = np.array(found, info.dtype).reshape(info.channels, *box.shape)
    return Pixels(values, valid_mask(values, () if info.nodata is None else (info.nodata,) * info.channels))


def _name(array: Any) -> str:  # noqa: ANN401  (a DataArray)
    return str(getattr(array, "name", None) or "the array")


def _accessor(array: Any) -> Any:  # noqa: ANN401  (rioxarray's)
    """Return the accessor `rio` of a DataArray, which knows the axes x and y."""
    rio = getattr(array, "rio", None)
    if rio is None:
        raise RequestError(f"{_name(array)}: has no accessor `rio`, which knows where its cells are; import rioxarray")
    try:
        rio.y_dim, rio.x_dim  # noqa: B018  (which raise)
    except Exception as error:  # of rioxarray, which may not be there to name it
        raise RequestError(
            f"{_name(array)}: has the axes {', '.join(map(str, array.dims))}, none of which is x or y ({error}); name "
            "them with `.rio.set_spatial_dims`"
        ) from error
    return rio


def _check_even(array: Any, axis: str) -> None:  # noqa: ANN401
    steps = np.diff(np.asarray(array.coords[axis].values, float)) if axis in array.coords else np.ones(1)
    if not len(steps) or np.abs(steps - steps.mean()).max() <= _UNEVEN * abs(steps.mean()):
        return
    raise RequestError(
        f"{_name(array)}: the coordinates {axis} have steps from {steps.min():g} to {steps.max():g}; a scene needs "
        "even ones; interpolate it to such with `.interp`"
    )


def _grid_of(array: Any, rio: Any) -> Grid:  # noqa: ANN401
    """Return the grid by the transform that came with the array, unless a part of it was taken since."""
    shape = (array.sizes[rio.y_dim], array.sizes[rio.x_dim])
    crs = None if rio.crs is None else rio.crs.to_wkt()
    came = Grid.from_transform(shape, rio.transform(), crs)
    if not {rio.y_dim, rio.x_dim} <= set(array.coords):
        return came
    now = Grid.from_transform(shape, rio.transform(recalc=True), crs)
    return came if came.max_corner_distance(now) <= SAME_GRID_TOLERANCE else now


def _chunk(array: Any, axis: str) -> int:  # noqa: ANN401
    """Return the cells of a chunk along an axis; of an array in memory, a row."""
    size = int(array.sizes[axis])
    if array.chunks is None:
        return 1 if axis == array.dims[-2] else size
    return int(max(array.chunksizes[axis]))
