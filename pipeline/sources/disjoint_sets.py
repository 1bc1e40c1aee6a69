"""Numbers that turn out to belong together, one pair at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class DisjointSets:
    """The numbers from 0 on, in sets that can be joined (union-find); each set goes by its lowest number."""

    def __init__(self, count: int) -> None:
        """Begin with `count` numbers, each a set by itself."""
        self._parents = list(range(count))

    def grow(self, count: int) -> None:
        """Add `count` numbers, each a set by itself."""
        self._parents.extend(range(len(self._parents), len(self._parents) + count))

    def join(self, one: int, other: int) -> None:
        """Make one set of those that hold two numbers."""
        low, high = sorted((self.root(one), self.root(other)))
        self._parents[high] = low

    def root(self, number: int) -> int:
        """The lowest number of the set that holds `number`."""
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number

    def roots(self) -> NDArray[np.int64]:
        """The root of each number."""
        return np.array([self.root(number) for number in range(len(self._parents))], np.int64)
