"""Disjoint sets of numbers (union-find)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class DisjointSets:
    """The numbers from 0 on, in sets that can be joined; the root of a set is its lowest number.

    >>> sets = DisjointSets(4)
    >>> sets.join(3, 1)
    >>> sets.root(3)
    1
    """

    def __init__(self, count: int) -> None:
        """Start with `count` numbers, each a set by itself."""
        self._parents = list(range(count))

    def grow(self, count: int) -> None:
        """Add `count` numbers, each a set by itself."""
        self._parents.extend(range(len(self._parents), len(self._parents) + count))

    def join(self, one: int, other: int) -> None:
        """Join the sets of two numbers."""
        low, high = sorted((self.root(one), self.root(other)))
        self._parents[high] = low

    def root(self, number: int) -> int:
        """Return the lowest number of the set of `number`."""
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number

    def roots(self) -> NDArray[np.int64]:
        """Return the root of each number."""
        return np.array([self.root(number) for number in range(len(self._parents))], np.int64)
