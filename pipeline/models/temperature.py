"""Fit a temperature: what logits are divided by so that probabilities hold (Guo et al. 2017, arXiv:1706.04599).

NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

LOWEST, HIGHEST = 0.05, 20.0
"""Temperatures between which one is looked for."""
MOST = 1 << 21
"""Scores that are kept of all cells to fit a temperature to."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_HALVINGS = 40
"""At most: the first four digits are known after some twenty."""
_EDGE = 1.01
"""Factor within which a temperature is at the end of the range."""


@dataclass
class LogitSample:
    """Logits of an even sample of cells, and their true classes: the same cells however they come."""

    cells: int
    """Cells that there are in all, at most."""
    classes: int
    logits: list[NDArray[np.float32]] = field(default_factory=list)
    """Arrays `(n, classes)`."""
    truth: list[NDArray[np.int64]] = field(default_factory=list)

    def add(self, first: int, logits: NDArray[Any], truth: NDArray[Any]) -> None:
        """Add some of consecutive cells.

        Args:
            first: Number of the first cell among all.
            logits: Logits `(classes, *cells)`; cells where they are not finite do not count.
            truth: Classes `(*cells)`; those below 0 do not count.

        """
        planes, true = logits.reshape(self.classes, -1), truth.ravel()
        chosen = self._chosen(np.arange(first, first + true.size))
        chosen &= (true >= 0) & np.isfinite(planes).all(0)
        self.logits.append(planes[:, chosen].T.astype(np.float32))
        self.truth.append(true[chosen].astype(np.int64))

    def temperature(self) -> float:
        """Return the temperature that makes the mean negative log-likelihood least.

        It is 1 where nothing can be said: without any cell, or if labels are always right or worse than chance.
        """
        if not any(map(len, self.truth)):
            return 1.0
        found = fit_temperature(np.concatenate(self.logits), np.concatenate(self.truth))
        return found if LOWEST * _EDGE < found < HIGHEST / _EDGE else 1.0

    def _chosen(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which cells are in the sample: multiples of the golden ratio are spread evenly."""
        share = min(1.0, MOST / max(1, self.cells * self.classes))
        mixed = (numbers.astype(np.uint64) * _GOLDEN) >> np.uint64(32)
        return np.asarray(mixed < np.uint64(share * 2**32))


def fit_temperature(logits: NDArray[Any], truth: NDArray[Any]) -> float:
    """Return the temperature, to four digits, at which the mean negative log-likelihood is least.

    It is convex in 1 / temperature, so halving the range in which its slope changes sign finds the only minimum.

    >>> fit_temperature(np.array([[2.0, 0], [2, 0], [2, 0], [0, 2]]), np.array([0, 0, 1, 1]))
    1.82

    Args:
        logits: Logits `(n, classes)`.
        truth: True classes `(n,)`.

    """
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    true = np.take_along_axis(shifted, truth[:, None], 1)[:, 0]
    low, high = np.log(LOWEST), np.log(HIGHEST)
    for _ in range(_HALVINGS):
        if _rounded(low) == _rounded(high):
            break
        middle = (low + high) / 2
        low, high = (middle, high) if _is_too_sure(shifted, true, np.exp(middle)) else (low, middle)
    return _rounded((low + high) / 2)


def _rounded(logarithm: float) -> float:
    return float(f"{np.exp(logarithm):.4g}")


def _is_too_sure(shifted: NDArray[np.float64], true: NDArray[np.float64], temperature: float) -> bool:
    """Return whether the expected logit is above that of the true class, so that a higher temperature is likelier."""
    shares = np.exp(shifted / temperature)
    expected = (shares * shifted).sum(1) / shares.sum(1)
    return float(np.mean(expected - true)) > 0
