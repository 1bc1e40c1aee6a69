"""Statistics of a whole input, computed once, so that all patches are scaled in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, floor, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.protocols import Source
from pipeline.sources.passes import slabs
from pipeline.sources.validity import is_plausible


@dataclass
class MomentAccumulator:
    """Mean and standard deviation of the plausible values other than 0, accumulated slice by slice.

    Slices must be added in order: then a volume gives the same numbers however it is stored and read.
    """

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    shift: float | None = None

    def add(self, values: NDArray[Any]) -> None:
        """Count the values of one slice."""
        seen = values[is_plausible(values) & (values != 0)].astype(np.float64)
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
        """Mean of the values; 0 without any."""
        return (self.shift or 0.0) + self.total / max(self.count, 1)

    @property
    def std(self) -> float:
        """Standard deviation of the values; 0 without any."""
        count = max(self.count, 1)
        return sqrt(max(0.0, self.squares / count - (self.total / count) ** 2))


@dataclass(frozen=True)
class InputStatistics:
    """Offset and scale of the values of an input, one per channel; empty for a model that needs none."""

    offset: tuple[float, ...] = ()
    """Mean, or the value at a low percentile."""
    scale: tuple[float, ...] = ()
    """Standard deviation, or the distance from there to the value at a high percentile."""

    @classmethod
    def of_moments(cls, channels: Sequence[MomentAccumulator]) -> InputStatistics:
        """Return the mean and the standard deviation of each channel."""
        return cls(tuple(channel.mean for channel in channels), tuple(channel.std for channel in channels))


NO_STATISTICS = InputStatistics()

_HALF = 1 << 16


@dataclass
class Histogram:
    """Percentiles of the plausible values other than 0, counted slice by slice in any order.

    Exact for integers of up to 16 bits. Others are binned by the upper half of their float32, which gives a percentile
    to within 1/128 of its value at worst, and far more precisely where there are many values.
    """

    dtype: np.dtype[Any]
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_HALF, np.int64))

    def add(self, values: NDArray[Any]) -> None:
        """Count the values of one slice."""
        seen = values[is_plausible(values) & (values != 0)]
        self.counts += np.bincount(self._bins(seen), minlength=_HALF)

    def at(self, percentile: float) -> float:
        """Return the value at a percentile, interpolated like `numpy.percentile`; 0 without values."""
        count = int(self.counts.sum())
        if not count:
            return 0.0
        rank = percentile / 100 * (count - 1)
        below, above = self._ranked(floor(rank)), self._ranked(ceil(rank))
        return below + (above - below) * (rank - floor(rank))

    @property
    def _exact(self) -> bool:
        return self.dtype.kind in "iub" and self.dtype.itemsize <= 2

    @property
    def _least(self) -> int:
        return int(np.iinfo(self.dtype).min) if self.dtype.kind == "i" else 0

    def _bins(self, seen: NDArray[Any]) -> NDArray[np.int64]:
        if self._exact:
            return seen.astype(np.int64) - self._least
        return (keys_of(seen.astype(np.float32)) >> 16).astype(np.int64)

    def _ranked(self, rank: int) -> float:
        """The value of a rank, as if the values of a bin were spread evenly."""
        ends = np.cumsum(self.counts)
        at = int(np.searchsorted(ends, rank, side="right"))
        if self._exact:
            return float(at + self._least)
        low, high = value_of(at << 16), value_of((at << 16) + _HALF - 1)
        return low + (high - low) * (rank - int(ends[at] - self.counts[at]) + 0.5) / int(self.counts[at])


def count_in(seen: Sequence[MomentAccumulator | Histogram], values: NDArray[Any]) -> None:
    """Add the values of one slice, `(channels, ...)`, to the statistics of each channel."""
    for one, plane in zip(seen, values, strict=True):
        one.add(plane)


def count_volume(seen: Sequence[MomentAccumulator | Histogram], source: Source) -> None:
    """Add all slices of a volume, in order, to the statistics of each channel: one forward pass."""
    for _, pixels in slabs(source, 1):
        count_in(seen, pixels.values)


def keys_of(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return integers that sort like the float32 values.

    >>> np.argsort(keys_of(np.array([1.5, -2, 0], np.float32)))
    array([1, 2, 0])
    """
    bits = np.ascontiguousarray(values).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits ^ np.uint32(0x80000000))


def value_of(key: int) -> float:
    """Return the float32 value of one of `keys_of`."""
    bits = key ^ 0x80000000 if key & 0x80000000 else ~key & 0xFFFFFFFF
    return float(np.array(bits, np.uint32).view(np.float32))
