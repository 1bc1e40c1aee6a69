"""Decisions: finished scores to labels, confidence or disagreement, or the scores themselves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.arrays import HOST, Arrays, sum_of_squares

STEPS = 254
"""Steps from 0 to 1 of a value that is stored as 1 to 255, where 0 is nodata."""
_U8 = np.dtype(np.uint8)


class Decision(Protocol):
    """Turns the blended scores of finished cells into the values to write."""

    @property
    def planes(self) -> tuple[int, ...]:
        """Leading axes of the output: `()` for labels, `(classes,)` for scores."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the output."""

    @property
    def nodata(self) -> float:
        """Value of cells without an observation."""

    @property
    def needs_second_moment(self) -> bool:
        """Whether `scores` has a last plane beside those of the classes: the blended sums of their squares."""

    def __call__(self, scores: Any, out: NDArray[Any], arrays: Arrays = HOST) -> None:  # noqa: ANN401
        """Decide `scores` `(classes, *cells)`, of `arrays`, into `out` `(*planes, *cells)`."""
        ...


@dataclass(frozen=True)
class Labels:
    """The class with the highest score; the lowest class wins a tie."""

    dtype: np.dtype[Any] = _U8
    nodata: float = 255
    planes: tuple[int, ...] = ()
    needs_second_moment: bool = False

    def __call__(self, scores: Any, out: NDArray[Any], arrays: Arrays = HOST) -> None:  # noqa: ANN401
        """Write the labels into `out`, decided on the device of the scores."""
        arrays.argmax(scores, out)


@dataclass(frozen=True)
class Scores:
    """The blended scores as they are, with those of their squares if they are needed later."""

    planes: tuple[int, ...]
    dtype: np.dtype[Any] = np.dtype(np.float32)  # noqa: RUF009  (immutable)
    nodata: float = float("nan")
    needs_second_moment: bool = False

    def __call__(self, scores: Any, out: NDArray[Any], arrays: Arrays = HOST) -> None:  # noqa: ANN401
        """Copy the scores into `out`."""
        out[...] = arrays.to_numpy(scores)


@dataclass(frozen=True)
class Probabilities:
    """The probability of each class in steps of 1/254: 1 is impossible, 255 is certain."""

    planes: tuple[int, ...]
    logits: bool
    """Whether the scores are logits, which need a softmax."""
    dtype: np.dtype[Any] = _U8
    nodata: float = 0
    needs_second_moment: bool = False
    temperature: float = 1.0
    """What logits are divided by first."""

    def __call__(self, scores: Any, out: NDArray[Any], arrays: Arrays = HOST) -> None:  # noqa: ANN401
        """Decide on the host."""
        out[...] = _stepped(_probabilities(arrays.to_numpy(scores), self.logits, self.temperature))


@dataclass(frozen=True)
class Confidence:
    """The probability of the class with the highest score, in the steps of `Probabilities`."""

    logits: bool
    dtype: np.dtype[Any] = _U8
    nodata: float = 0
    planes: tuple[int, ...] = ()
    needs_second_moment: bool = False
    temperature: float = 1.0

    def __call__(self, scores: Any, out: NDArray[Any], arrays: Arrays = HOST) -> None:  # noqa: ANN401
        """Decide on the host."""
        out[...] = _stepped(_probabilities(arrays.to_numpy(scores), self.logits, self.temperature).max(0))


@dataclass(frozen=True)
class Disagreement:
    """The spread of the scores of overlapping patches, and of several models, in the steps of `Probabilities`.

    Their standard deviation, weighted as in the blend, over all classes together: 0 where all patches give the same
    probabilities, 0.71 where two of equal weight are certain of different classes.
    """

    dtype: np.dtype[Any] = _U8
    nodata: float = 0
    planes: tuple[int, ...] = ()
    needs_second_moment: bool = True

    def __call__(self, scores: Any, out: NDArray[Any], arrays: Arrays = HOST) -> None:  # noqa: ANN401
        """Decide on the host."""
        planes = arrays.to_numpy(scores)
        variance = planes[-1] - sum_of_squares(planes[:-1])
        out[...] = _stepped(np.sqrt(np.maximum(variance, np.float32(0))))


def _probabilities(scores: NDArray[np.float32], logits: bool, temperature: float) -> NDArray[np.float32]:
    if not logits:
        return scores
    shares: NDArray[np.float32] = np.exp((scores - scores.max(0)) / np.float32(temperature))
    shares /= reduce(np.add, shares)
    return shares


def _stepped(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    steps: NDArray[np.uint8] = (np.rint(np.clip(values, 0, 1) * np.float32(STEPS)) + 1).astype(np.uint8)
    return steps
