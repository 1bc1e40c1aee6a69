"""Where scores live until they are decided: NumPy's arrays here, or those of a device."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import add
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

_CELLS = 1 << 15
"""Cells decided at a time."""


class Arrays(Protocol):
    """Arrays of one place. They take slices, `+`, `-`, `+=` and assignment as NumPy's do."""

    def empty(self, shape: tuple[int, ...]) -> Any:  # noqa: ANN401  (an array of that place)
        """Room for float32 values."""
        ...

    def to_device(self, weights: NDArray[np.float32]) -> Any:  # noqa: ANN401
        """Weights of a patch, in that place; not to be written to."""
        ...

    def multiply(self, scores: Any, weights: Any, out: Any) -> None:  # noqa: ANN401
        """The product of both, into `out`."""
        ...

    def argmax(self, scores: Any, out: NDArray[Any]) -> None:  # noqa: ANN401
        """Index of the highest of `scores` `(classes, *cells)` into `out`, the lowest of equal ones."""
        ...

    def with_squares(self, scores: Any) -> Any:  # noqa: ANN401
        """Scores `(n, classes, *cells)` with one plane more, of `sum_of_squares` over the classes."""
        ...

    def finite(self, scores: Any) -> bool:  # noqa: ANN401
        """Whether all are numbers, and none infinite."""
        ...

    def to_numpy(self, scores: Any) -> NDArray[np.float32]:  # noqa: ANN401
        """The scores as an array of NumPy."""
        ...


class HostArrays:
    """Arrays of NumPy."""

    def empty(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Room for float32 values."""
        return np.empty(shape, np.float32)

    def to_device(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """The weights as they are."""
        return weights

    def multiply(self, scores: NDArray[np.float32], weights: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """The product of both, into `out`."""
        np.multiply(scores, weights, out=out)

    def argmax(self, scores: NDArray[np.float32], out: NDArray[Any]) -> None:
        """Index of the highest of `scores`, found a few rows at a time to stay in the cache."""
        rows = max(1, _CELLS // max(1, out[0].size))
        for first in range(0, len(out), rows):
            cells = slice(first, first + rows)
            out[cells] = _highest(scores[:, cells], out.dtype)

    def with_squares(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """A copy with one plane more."""
        return np.concatenate([scores, sum_of_squares(np.moveaxis(scores, 1, 0))[:, None]], 1)

    def finite(self, scores: NDArray[np.float32]) -> bool:
        """Whether all are finite: one sum tells in most cases."""
        with np.errstate(over="ignore", invalid="ignore"):
            return bool(np.isfinite(scores.sum()) or np.isfinite(scores).all())

    def to_numpy(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scores themselves."""
        return scores


HOST = HostArrays()


@runtime_checkable
class HasArrays(Protocol):
    """A `Predictor` whose scores are arrays of its own."""

    arrays: Arrays


def arrays_of(predictor: object) -> Arrays:
    """The arrays in which a predictor gives its scores: its own, or NumPy's."""
    return predictor.arrays if isinstance(predictor, HasArrays) else HOST


def sum_of_squares(planes: Iterable[Any]) -> Any:  # noqa: ANN401  (of any `Arrays`)
    """The sum of the squares of planes, one after the other."""
    return reduce(add, (plane * plane for plane in planes))


def _highest(scores: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    planes = np.ascontiguousarray(scores).reshape(len(scores), -1)
    best, labels = planes[0].copy(), np.zeros(planes.shape[1], dtype)
    for index in range(1, len(planes)):
        better = planes[index] > best
        np.maximum(best, planes[index], out=best)
        np.maximum(labels, better * dtype.type(index), out=labels)
    return labels.reshape(scores.shape[1:])
