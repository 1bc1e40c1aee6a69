"""Statistics of a whole input, taken once, so that no patch is scaled by its own."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class Foreground:
    """Mean and standard deviation of the finite values other than 0, gathered slice by slice.

    Slices must come in order: then the same volume gives the same numbers however it is stored and read.
    """

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    shift: float | None = None

    def add(self, values: NDArray[Any]) -> None:
        """Count the values of one slice."""
        seen = values[np.isfinite(values) & (values != 0)].astype(np.float64)
        if not seen.size:
            return
        if self.shift is None:
            self.shift = float(seen.mean())
        seen -= self.shift
        self.count += seen.size
        self.total += float(seen.sum())
        self.squares += float(np.square(seen).sum())

    @property
    def mean(self) -> float:
        """Mean of what was added; 0 where that is nothing."""
        return (self.shift or 0.0) + self.total / max(self.count, 1)

    @property
    def std(self) -> float:
        """Standard deviation of what was added; 0 where that is nothing or of one value."""
        count = max(self.count, 1)
        return sqrt(max(0.0, self.squares / count - (self.total / count) ** 2))
