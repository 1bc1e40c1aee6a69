"""Which cells of an input are valid: one rule for all formats. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def valid_mask(
    values: NDArray[Any], nodata: Sequence[float | None], shown: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_] | None:
    """Return which cells of `values` `(channels, *cells)` are valid, as an array `(*cells,)`; None: all of them.

    A cell is valid where the mask of the file, `shown`, is True or, without one, where some channel differs from its
    nodata value (if each channel has one); and where all channels are finite, since a network needs finite values.
    """
    parts = [] if shown is None else [shown]
    if shown is None and all(value is not None for value in nodata):
        parts.append(np.any([plane != value for plane, value in zip(values, nodata, strict=True)], axis=0))
    if values.dtype.kind == "f":
        parts.append(np.isfinite(values).all(axis=0))
    valid = np.logical_and.reduce(parts) if parts else None
    return None if valid is None or valid.all() else valid
