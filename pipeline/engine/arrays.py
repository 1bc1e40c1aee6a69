"""The arrays that hold scores until they are decided: NumPy arrays here, or those of a device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


class Arrays(Protocol):
    """Operations on the arrays of one device, which take slices, `+`, `-`, `+=` and assignment like NumPy arrays."""

    @property
    def at_once(self) -> int:
        """Most scores that are added up and decided at a time: as many as stay in a processor's cache."""
        ...

    def empty(self, shape: tuple[int, ...]) -> Any:  # noqa: ANN401  (an array of that place)
        """Return an uninitialized float32 array of `shape`."""
        ...

    def zeros(self, shape: tuple[int, ...]) -> Any:  # noqa: ANN401
        """Return a read-only float32 array of zeros that takes no memory."""
        ...

    def to_device(self, weights: NDArray[np.float32]) -> Any:  # noqa: ANN401
        """Return the weights of a patch as a read-only array of the device."""
        ...

    def multiply(self, scores: Any, weights: Any, out: Any) -> None:  # noqa: ANN401
        """Write the product of both into `out`."""
        ...

    def argmax(self, scores: Any, out: NDArray[Any]) -> None:  # noqa: ANN401
        """Write the index of the highest of `scores`, `(classes, *cells)`, into `out`; the lowest index wins a tie."""
        ...

    def with_squares(self, scores: Any) -> Any:  # noqa: ANN401
        """Return `(n, classes + 1, *cells)`: scores `(n, classes, *cells)` and their `sum_of_squares` over classes."""
        ...

    def finite(self, scores: Any) -> bool:  # noqa: ANN401
        """Return whether all scores are finite."""
        ...

    def copy(self, scores: Any) -> Any:  # noqa: ANN401
        """Return a copy of the scores."""
        ...

    def to_numpy(self, scores: Any) -> NDArray[np.float32]:  # noqa: ANN401
        """Return the scores as a NumPy array."""
        ...


@dataclass(frozen=True)
class HostArrays:
    """NumPy arrays, on the host."""

    at_once: int = 1 << 17

    def empty(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return an uninitialized float32 array of `shape`."""
        return np.empty(shape, np.float32)

    def zeros(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return zeros that share one value."""
        return np.broadcast_to(np.float32(0), shape)

    def to_device(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the weights themselves."""
        return weights

    def multiply(self, scores: NDArray[np.float32], weights: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Write the product of both into `out`."""
        np.multiply(scores, weights, out=out)

    def argmax(self, scores: NDArray[np.float32], out: NDArray[Any]) -> None:
        """Write the index of the highest of `scores` into `out`."""
        planes = np.ascontiguousarray(scores).reshape(len(scores), -1)
        best, labels = planes[0].copy(), np.zeros(planes.shape[1], out.dtype)
        for index in range(1, len(planes)):
            better = planes[index] > best
            np.maximum(best, planes[index], out=best)
            np.maximum(labels, better * out.dtype.type(index), out=labels)
        out[...] = labels.reshape(out.shape)

    def with_squares(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a copy with the plane of squares appended."""
        return np.concatenate([scores, sum_of_squares(np.moveaxis(scores, 1, 0))[:, None]], 1)

    def finite(self, scores: NDArray[np.float32]) -> bool:
        """Return whether all scores are finite; in most cases one sum shows it."""
        with np.errstate(over="ignore", invalid="ignore"):
            return bool(np.isfinite(np.einsum("i->", scores.ravel("K"))) or np.isfinite(scores).all())

    def copy(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a copy of the scores."""
        return scores.copy()

    def to_numpy(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the scores themselves."""
        return scores


HOST = HostArrays()


@runtime_checkable
class HasArrays(Protocol):
    """A `Predictor` whose scores are not NumPy arrays."""

    arrays: Arrays


def arrays_of(predictor: object) -> Arrays:
    """Return the arrays of a predictor's scores: its own, or NumPy's."""
    return predictor.arrays if isinstance(predictor, HasArrays) else HOST


def sum_of_squares(planes: Iterable[Any]) -> Any:  # noqa: ANN401  (of any `Arrays`)
    """Return the sum of the squares of `planes`, added in order."""
    return reduce(add, (plane * plane for plane in planes))
