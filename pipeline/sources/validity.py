"""Which cells of an input were observed: one rule for every door. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def valid_mask(
    values: NDArray[Any], nodata: Sequence[float | None], shown: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_] | None:
    """Cells of `values` `(channels, *cells)` with an observation, True in the array `cells`; None: all of them.

    A cell is observed where the file's own mask `shown` says so or, without one, where some channel differs from its
    nodata value (no channel may lack one); and where all channels are finite, for a network cannot take others.
    """
    parts = [] if shown is None else [shown]
    if shown is None and all(value is not None for value in nodata):
        parts.append(np.any([plane != value for plane, value in zip(values, nodata, strict=True)], axis=0))
    if values.dtype.kind == "f":
        parts.append(np.isfinite(values).all(axis=0))
    valid = np.logical_and.reduce(parts) if parts else None
    return None if valid is None or valid.all() else valid
