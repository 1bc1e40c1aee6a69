"""Blend windows: the weight of each cell of a patch where patches overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, reduce

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import RequestError
from pipeline.geometry import Box, Lattice

MIN_WEIGHT = 1e-3
"""Least weight of any cell, relative to the center: a cell seen only by a patch's corner still has a clear score."""

Vector = NDArray[np.float64]


def _constant(at: Vector) -> Vector:
    return np.ones_like(at)


def _linear(at: Vector) -> Vector:
    return 1 - np.abs(at)


def _hann(at: Vector) -> Vector:
    return np.cos(np.pi * at / 2) ** 2


def _gaussian(at: Vector) -> Vector:
    """A standard deviation of an eighth of the patch, as nnU-Net and MONAI have it."""
    return np.exp(-8 * at**2)


_SHAPES: dict[str, Callable[[Vector], Vector]] = {
    "constant": _constant,
    "linear": _linear,
    "hann": _hann,
    "gaussian": _gaussian,
}
WINDOWS = tuple(_SHAPES)
"""Names of the windows."""


def window(kind: str, length: int) -> Vector:
    """Return the weights `(length,)` of one axis: symmetric about the middle, from `MIN_WEIGHT` to 1.

    Raises:
        RequestError: if `kind` is not one of `WINDOWS`.

    """
    if kind not in _SHAPES:
        raise RequestError(f"unknown window {kind!r}; choose one of {', '.join(WINDOWS)}")
    at = (np.arange(length) + 0.5) * 2 / length - 1
    return np.maximum(_SHAPES[kind](at), MIN_WEIGHT)


class Weights:
    """Weights of every patch of a lattice, which sum to 1 in every cell.

    Separable: one vector per axis, divided by the total of that axis. So there is no plane of weights or counts, and
    blended scores need no division.
    """

    def __init__(self, lattice: Lattice, kind: str) -> None:
        self._windows = [window(kind, length) for length in lattice.patch]
        self._totals = [
            _total(starts, vector, size)
            for starts, vector, size in zip(lattice.starts, self._windows, lattice.shape, strict=True)
        ]

    def of(self, patch: Box) -> NDArray[np.float32]:
        """Return the weights of `patch`, of shape `patch.shape`, read-only."""
        return _outer(
            tuple(
                (vector[: stop - start] / total[start:stop]).astype(np.float32).tobytes()
                for vector, total, start, stop in zip(self._windows, self._totals, patch.start, patch.stop, strict=True)
            )
        )


@lru_cache(maxsize=8)
def _outer(vectors: tuple[bytes, ...]) -> NDArray[np.float32]:
    """The product of float32 vectors; patches in the middle of a row all have the same."""
    weights: NDArray[np.float32] = reduce(np.multiply.outer, [np.frombuffer(vector, np.float32) for vector in vectors])
    weights.flags.writeable = False
    return weights


def _total(starts: Sequence[int], vector: Vector, size: int) -> Vector:
    total = np.zeros(size)
    for start in starts:
        length = min(len(vector), size - start)
        total[start : start + length] += vector[:length]
    return total
