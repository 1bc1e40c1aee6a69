"""Outlines that cross 180 degrees of longitude or go around a pole, as GeoJSON has them (RFC 7946, section 3.1.9)."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""Array `(n, 2)` of longitude and latitude, in degrees."""
_HALF, _WHOLE = 180.0, 360.0
_POLE = 90.0


def unwrap(ring: Points) -> Points:
    """Return a closed ring whose longitudes do not jump, for one with steps below 180 degrees.

    A ring around a pole is led along 180 degrees to the pole and back.

    >>> unwrap(np.array([(179.0, 0), (-179, 0), (-179, 1), (179, 0)]))[:, 0]
    array([179., 181., 181., 179.])
    """
    longitudes = np.unwrap(ring[:, 0], period=_WHOLE)
    found = np.column_stack([longitudes, ring[:, 1]])
    turn = round((longitudes[-1] - longitudes[0]) / _WHOLE) * _WHOLE
    found[-1] = np.add(found[0], (turn, 0))
    return found if turn == 0 else _over_pole(found, turn)


def _over_pole(ring: Points, turn: float) -> Points:
    """Return a ring that goes once around a pole, opened where it meets 180 degrees closest to it."""
    (x, y), (to_x, to_y) = ring[:-1].T, ring[1:].T
    numbers = np.floor((ring[:, 0] + _HALF) / _WHOLE)
    at = np.flatnonzero(numbers[:-1] != numbers[1:])
    meridians = np.maximum(numbers[:-1], numbers[1:])[at] * _WHOLE - _HALF
    met = y[at] + (to_y - y)[at] * (meridians - x[at]) / (to_x - x)[at]
    closest = np.abs(met).argmax()
    first, start = at[closest] + 1, np.array([[meridians[closest], met[closest]]])
    pole = np.copysign(_POLE, met[closest])
    ends = [(start[0, 0] + turn, pole), (start[0, 0], pole)]
    return np.concatenate(
        [start, ring[first:], np.add(ring[1:first], (turn, 0)), np.add(start, (turn, 0)), ends, start]
    )


def turns(ring: Points) -> Iterator[tuple[float, float, float]]:
    """Yield what a ring of continuous longitudes meets of the globe, turn by turn: west, east, and what to subtract.

    >>> list(turns(np.array([(170.0, 0), (190, 0), (190, 1), (170, 0)])))
    [(-180.0, 180.0, 0.0), (180.0, 540.0, 360.0)]
    """
    low, high = ring[:, 0].min(), ring[:, 0].max()
    first, last = floor((low + _HALF) / _WHOLE), ceil((high + _HALF) / _WHOLE)
    for turn in range(first, max(first + 1, last)):
        yield turn * _WHOLE - _HALF, turn * _WHOLE + _HALF, turn * _WHOLE


def cut(ring: Points) -> list[Points]:
    """Return the parts of the outline of a scene, a closed ring of continuous longitudes, from -180 to 180 each."""
    parts = ((_beside(_beside(ring, west, 1), east, -1), shift) for west, east, shift in turns(ring))
    return [part - (shift, 0) for part, shift in parts if len(part)]


def bounds(ring: Points) -> tuple[float, float, float, float]:
    """Return west, south, east, north of a ring of continuous longitudes; west is above east if it crosses 180 degrees.

    >>> bounds(np.array([(170.0, 0), (190, 0), (190, 1), (170, 0)]))
    (170.0, 0.0, -170.0, 1.0)
    """
    (low, south), (high, north) = ring.min(0).tolist(), ring.max(0).tolist()
    if high - low >= _WHOLE:
        return -_HALF, south, _HALF, north
    west = (low + _HALF) % _WHOLE - _HALF
    east = _HALF - (_HALF - high) % _WHOLE
    return west, south, east, north


def _beside(ring: Points, meridian: float, side: int) -> Points:
    """Return the part of a closed ring east (1) or west (-1) of a meridian, closed along it; empty if there is none."""
    if not len(ring):
        return ring
    corners: list[tuple[float, float]] = []
    for (x, y), (to_x, to_y) in zip(ring[:-1].tolist(), ring[1:].tolist(), strict=True):
        if (x - meridian) * side >= 0:
            corners.append((x, y))
        if (x - meridian) * (to_x - meridian) < 0:
            corners.append((meridian, y + (to_y - y) * (meridian - x) / (to_x - x)))
    return np.array([*corners, *corners[:1]]).reshape(-1, 2) if _is_wide(corners) else np.zeros((0, 2))


def _is_wide(corners: list[tuple[float, float]]) -> bool:
    return len({x for x, _ in corners}) > 1
