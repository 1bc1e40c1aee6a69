"""A half-open n-dimensional range of array indices."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from operator import le, sub


@dataclass(frozen=True, order=True)
class Box:
    """Half-open index range `start <= index < stop`, one entry per axis in array order.

    >>> Box((2, 0), (5, 4)).shape
    (3, 4)
    """

    start: tuple[int, ...]
    """First index per axis; may be negative for a box that reaches outside its grid."""
    stop: tuple[int, ...]
    """One past the last index per axis, never below `start`."""

    def __post_init__(self) -> None:
        if len(self.start) != len(self.stop):
            raise ValueError(f"start and stop of a box must have the same length, got {self.start} and {self.stop}")
        if not all(map(le, self.start, self.stop)):
            raise ValueError(f"a box must not stop before it starts: {self.start} to {self.stop}")

    @classmethod
    def whole(cls, shape: tuple[int, ...]) -> Box:
        """Return the box of a whole array of `shape`."""
        return cls((0,) * len(shape), tuple(shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """Length per axis."""
        return tuple(map(sub, self.stop, self.start))

    @property
    def size(self) -> int:
        """Number of cells."""
        return prod(self.shape)

    @property
    def slices(self) -> tuple[slice, ...]:
        """Slices that cut the box from an array whose first index is 0."""
        return tuple(map(slice, self.start, self.stop))

    def within(self, origin: tuple[int, ...]) -> Box:
        """Return the same cells, counted from `origin` instead of 0."""
        return Box(
            tuple(a - o for a, o in zip(self.start, origin, strict=True)),
            tuple(b - o for b, o in zip(self.stop, origin, strict=True)),
        )

    def grow(self, margin: tuple[int, ...]) -> Box:
        """Return the box with `margin` cells added on both sides of each axis."""
        return Box(
            tuple(a - m for a, m in zip(self.start, margin, strict=True)),
            tuple(b + m for b, m in zip(self.stop, margin, strict=True)),
        )

    def clip(self, other: Box) -> Box:
        """Return the cells that are in both boxes; of zero length along an axis where they do not meet.

        >>> Box((2, 0), (5, 4)).clip(Box((0, 1), (3, 9)))
        Box(start=(2, 1), stop=(3, 4))
        """
        start = tuple(max(a, b) for a, b in zip(self.start, other.start, strict=True))
        stop = tuple(min(a, b) for a, b in zip(self.stop, other.stop, strict=True))
        return Box(start, tuple(max(a, b) for a, b in zip(start, stop, strict=True)))

    def split(self, axis: int, at: int) -> tuple[Box, Box]:
        """Return the cells before index `at` along `axis`, and those from it on; either may be of zero length."""
        at = min(max(at, self.start[axis]), self.stop[axis])
        lower = Box(self.start, (*self.stop[:axis], at, *self.stop[axis + 1 :]))
        return lower, Box((*self.start[:axis], at, *self.start[axis + 1 :]), self.stop)

    def contains(self, other: Box) -> bool:
        """Return whether every cell of `other` is in this box."""
        return self.clip(other) == other
