"""Where patches lie that cover a whole image."""

from __future__ import annotations

from itertools import product


def places(size: tuple[int, int], patch: tuple[int, int], overlap: tuple[int, int]) -> list[tuple[int, int]]:
    """First row and column of each patch; the last along an axis is shifted inward to end with the image."""
    rows, columns = (_starts(*axis) for axis in zip(size, patch, overlap, strict=True))
    return list(product(rows, columns))


def _starts(size: int, patch: int, overlap: int) -> list[int]:
    last = max(0, size - patch)
    return [*range(0, last, patch - overlap), last]
