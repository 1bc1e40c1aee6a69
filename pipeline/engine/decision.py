"""What becomes of finished scores: labels, or the scores themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Decision(Protocol):
    """Turns the blended scores of finished rows into what is written."""

    @property
    def planes(self) -> tuple[int, ...]:
        """Leading axes of what is written: `()` for labels, `(classes,)` for scores."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of what is written."""

    @property
    def nodata(self) -> float:
        """Value of cells without an observation."""

    def __call__(self, scores: NDArray[np.float32], out: NDArray[Any]) -> None:
        """Decide `scores` of shape `(classes, *cells)` into `out` of shape `(*planes, *cells)`."""
        ...


_CELLS = 1 << 15
"""Cells decided at a time."""


@dataclass(frozen=True)
class Labels:
    """The class of highest score; the lowest class wins a tie."""

    dtype: np.dtype[Any] = np.dtype(np.uint8)  # noqa: RUF009  (immutable)
    nodata: float = 255
    planes: tuple[int, ...] = ()

    def __call__(self, scores: NDArray[np.float32], out: NDArray[Any]) -> None:
        """Decide a few rows at a time, to stay in the cache."""
        rows = max(1, _CELLS // max(1, out[0].size))
        for first in range(0, len(out), rows):
            cells = slice(first, first + rows)
            out[cells] = _highest(scores[:, cells], out.dtype)


@dataclass(frozen=True)
class Scores:
    """The blended scores as they are."""

    planes: tuple[int, ...]
    dtype: np.dtype[Any] = np.dtype(np.float32)  # noqa: RUF009  (immutable)
    nodata: float = float("nan")

    def __call__(self, scores: NDArray[np.float32], out: NDArray[Any]) -> None:
        """Copy."""
        out[...] = scores


def _highest(scores: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    planes = np.ascontiguousarray(scores).reshape(len(scores), -1)
    best, labels = planes[0].copy(), np.zeros(planes.shape[1], dtype)
    for index in range(1, len(planes)):
        better = planes[index] > best
        np.maximum(best, planes[index], out=best)
        np.maximum(labels, better * dtype.type(index), out=labels)
    return labels.reshape(scores.shape[1:])
