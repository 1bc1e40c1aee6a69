"""What becomes of finished scores: labels, or the scores themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.arrays import HOST, Arrays


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

    def __call__(self, scores: Any, out: NDArray[Any], arrays: Arrays = HOST) -> None:  # noqa: ANN401
        """Decide `scores` of shape `(classes, *cells)`, of `arrays`, into `out` of shape `(*planes, *cells)`."""
        ...


@dataclass(frozen=True)
class Labels:
    """The class of highest score; the lowest class wins a tie."""

    dtype: np.dtype[Any] = np.dtype(np.uint8)  # noqa: RUF009  (immutable)
    nodata: float = 255
    planes: tuple[int, ...] = ()

    def __call__(self, scores: Any, out: NDArray[Any], arrays: Arrays = HOST) -> None:  # noqa: ANN401
        """Decide where the scores are."""
        arrays.highest(scores, out)


@dataclass(frozen=True)
class Scores:
    """The blended scores as they are."""

    planes: tuple[int, ...]
    dtype: np.dtype[Any] = np.dtype(np.float32)  # noqa: RUF009  (immutable)
    nodata: float = float("nan")

    def __call__(self, scores: Any, out: NDArray[Any], arrays: Arrays = HOST) -> None:  # noqa: ANN401
        """Copy."""
        out[...] = arrays.host(scores)
