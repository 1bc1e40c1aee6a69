"""Kernels that numba compiles: sums of a part of a patch, and labels of sums, in one pass over rows that are cached.

Each value is rounded where NumPy rounds it, nothing is contracted or reordered: the bytes are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config, njit, types
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic
from numpy.typing import NDArray

if config.DISABLE_JIT:
    raise ImportError("numba does not compile: NUMBA_DISABLE_JIT is set")

Kernel = Callable[..., None]

_OPTIONS = {"nogil": True, "error_model": "numpy"}
_SCORES = types.Array(types.float32, 3, "A", readonly=True)
_WEIGHTS = types.Array(types.float32, 2, "A", readonly=True)
_SUMS = types.Array(types.float32, 3, "A")
_LABELS = types.Array(types.uint8, 2, "A")


def _compiled(function: Kernel, *arguments: Any) -> Kernel:  # noqa: ANN401  (types of numba)
    """Compile for these types alone, or load what was compiled before, so that no call compiles anything."""
    signature = types.void(*arguments)
    try:
        kept: Kernel = njit(signature, cache=True, **_OPTIONS)(function)
    except RuntimeError:  # no folder can be written to keep it in
        return njit(signature, **_OPTIONS)(function)  # type: ignore[no-any-return]
    return kept


def _row(_context: Any, row: Any) -> Any:  # noqa: ANN401
    """Mark a row as contiguous: the types of views do not say so, and without it numba does not vectorize the loop."""
    packed = row.copy(layout="C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        return impl_ret_borrowed(context, builder, signature.return_type, arguments[0])

    return packed(row), generate


_packed = intrinsic(_row)


def _multiply(scores: NDArray[np.float32], weights: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    planes, rows, columns = scores.shape
    for plane in range(planes):
        for y in range(rows):
            score, weight, to = _packed(scores[plane, y]), _packed(weights[y]), _packed(out[plane, y])
            for x in range(columns):
                to[x] = score[x] * weight[x]


def _multiply_add(
    scores: NDArray[np.float32], weights: NDArray[np.float32], carried: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    planes, rows, columns = scores.shape
    for plane in range(planes):
        for y in range(rows):
            score, weight, to = _packed(scores[plane, y]), _packed(weights[y]), _packed(out[plane, y])
            before = _packed(carried[plane, y])
            for x in range(columns):
                to[x] = score[x] * weight[x] + before[x]


@njit(**_OPTIONS)  # type: ignore[untyped-decorator]
def _compare(plane: int, values: NDArray[np.float32], best: NDArray[np.float32], label: NDArray[np.int32]) -> None:
    """Compare a row of a plane with the best of those before it."""
    index = np.int32(plane)
    for x in range(len(best)):
        value, high = values[x], best[x]
        label[x] = index if value > high else label[x]
        best[x] = value if (value > high) | (value != value) else high


def _label(scores: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
    planes, rows, columns = scores.shape
    best, label = np.empty(columns, np.float32), np.empty(columns, np.int32)
    for y in range(rows):
        best[:] = _packed(scores[0, y])
        label[:] = 0
        for plane in range(1, planes):
            _compare(plane, _packed(scores[plane, y]), best, label)
        _packed(out[y])[:] = label


def _label_sums(
    scores: NDArray[np.float32], weights: NDArray[np.float32], carried: NDArray[np.float32], out: NDArray[np.uint8]
) -> None:
    planes, rows, columns = scores.shape
    sums, best, label = np.empty(columns, np.float32), np.empty(columns, np.float32), np.empty(columns, np.int32)
    for y in range(rows):
        best[:] = -np.inf
        label[:] = 0
        weight = _packed(weights[y])
        for plane in range(planes):
            score, before = _packed(scores[plane, y]), _packed(carried[plane, y])
            for x in range(columns):
                sums[x] = score[x] * weight[x] + before[x]
            _compare(plane, sums, best, label)
        _packed(out[y])[:] = label


multiply = _compiled(_multiply, _SCORES, _WEIGHTS, _SUMS)
"""Write the products of scores `(classes, rows, columns)` and weights `(rows, columns)`."""
multiply_add = _compiled(_multiply_add, _SCORES, _WEIGHTS, _SCORES, _SUMS)
"""Write these products plus what was carried over, `(classes, rows, columns)`, which may lie behind `out`."""
label = _compiled(_label, _SCORES, _LABELS)
"""Write the index of the highest score; the lowest one wins a tie."""
label_sums = _compiled(_label_sums, _SCORES, _WEIGHTS, _SCORES, _LABELS)
"""Write the index of the highest sum of a product and what was carried over; the lowest one wins a tie."""
