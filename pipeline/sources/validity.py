"""Which cells of an input are valid: one rule for all formats. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = 1e20
"""Magnitude from which a real number is a fill value, not a measurement: CF's 1e20, and the ends of float32.

It is far above what sensors and scanners give, and far below what makes a network overflow float32.
"""

_SMALLEST = float(np.finfo(np.float32).tiny)


def is_scale(scale: float, offset: float) -> bool:
    """Return whether values can be scaled by these: in the range of float32, a scale of 0 or infinity is not.

    >>> is_scale(1e-4, -0.1), is_scale(0, 5), is_scale(float("nan"), 0)
    (True, False, False)
    """
    return _SMALLEST <= abs(scale) < LARGEST and abs(offset) < LARGEST


def is_plausible(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which values can be measurements: all integers, and real numbers of a magnitude below `LARGEST`.

    >>> is_plausible(np.array([-1.5, np.nan, np.inf, 3.4e38]))
    array([ True, False, False, False])
    """
    if values.dtype.kind != "f":
        return np.ones(values.shape, np.bool_)
    return np.asarray((values < LARGEST) & (values > -LARGEST))


def is_nodata(values: NDArray[Any], nodata: float) -> NDArray[np.bool_]:
    """Return which values are nodata, by the rule of GDAL's mask bands.

    A nodata value counts in the type of the values: cut to a whole number for integers, and rounded for real numbers,
    of which those within about 5e-7 of it are nodata too.

    >>> is_nodata(np.array([3.4028235e38, 9999], np.float32), 3.40282e38)
    array([ True, False])
    """
    if values.dtype.kind != "f":
        return np.asarray(values == int(nodata)) if isfinite(nodata) else np.zeros(values.shape, np.bool_)
    if isnan(nodata):
        return np.asarray(np.isnan(values))
    with np.errstate(over="ignore", invalid="ignore"):  # GDAL adds both, and what overflows counts as near
        value = values.dtype.type(nodata)
        near = np.abs(values + value)
        near *= 2 * np.finfo(np.float32).eps
        return np.asarray((values == value) | (np.abs(values - value) < near))


def valid_mask(
    values: NDArray[Any], nodata: Sequence[float | None] = (), shown: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_] | None:
    """Return which cells of `values` `(channels, *cells)` are valid, as an array `(*cells,)`; None: all of them.

    A cell is valid where the mask of the file, `shown`, is True or, without one, where some channel is not its nodata
    value (if each channel has one); and where all channels are plausible, since a network needs such values.
    """
    parts: list[NDArray[np.bool_]] = [] if shown is None else [shown]
    if shown is None and nodata and None not in nodata:
        missing = [is_nodata(plane, value) for plane, value in zip(values, nodata, strict=True) if value is not None]
        parts.append(~np.asarray(np.all(missing, axis=0)))
    if values.dtype.kind == "f" and not _all_plausible(values):
        parts.append(np.asarray(is_plausible(values).all(axis=0)))
    valid = np.logical_and.reduce(parts) if parts else None
    return None if valid is None or valid.all() else valid


def _all_plausible(values: NDArray[Any]) -> bool:
    """Return whether the ends of the values are plausible: NaN is an end."""
    return not values.size or bool(values.min() > -LARGEST and values.max() < LARGEST)
