"""Randomness without state: a hash of integers, and smooth noise over a lattice of hashes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

_MASK = 0xFFFFFFFF
_SPREAD = 3.15  # half range of the lattice values for which the splined noise has unit variance


def key(seed: int, salt: int) -> int:
    """Return the key of one independent random field of the sample `seed`."""
    return (seed * 0x9E3779B1 + salt * 0x85EBCA77 + 0x27D4EB2F) & _MASK


def random_bits(field: int, *index: NDArray[Any]) -> NDArray[np.uint32]:
    """Return 32 uniform random bits per index tuple, broadcast: MurmurHash3's finalizer after each axis."""
    bits = np.full(1, field, np.uint32)
    for axis in index:
        bits = bits * np.uint32(0x9E3779B1) + (axis & _MASK).astype(np.uint32)
        bits ^= bits >> np.uint32(16)
        bits *= np.uint32(0x85EBCA6B)
        bits ^= bits >> np.uint32(13)
        bits *= np.uint32(0xC2B2AE35)
        bits ^= bits >> np.uint32(16)
    return bits


def smooth_noise(rows: Ints, cols: Ints, cell: int, field: int) -> Floats:
    """Return noise of zero mean and unit variance, `(len(rows), len(cols))`, at ascending integer indices.

    Quadratic B-splines over random values `cell` apart: no slope jumps, and separable, so nearly free along one axis.
    """
    (i, tall), (j, wide) = _splines(rows, cell), _splines(cols, cell)
    lattice = _lattice(np.arange(i[0] - 1, i[-1] + 2), np.arange(j[0] - 1, j[-1] + 2), field)
    i, j = i - i[0], j - j[0]
    strips = lattice[:, j] * wide[0] + lattice[:, j + 1] * wide[1] + lattice[:, j + 2] * wide[2]
    out: Floats = strips[i] * tall[0][:, None]
    out += strips[i + 1] * tall[1][:, None]
    out += strips[i + 2] * tall[2][:, None]
    return out


def _lattice(rows: Ints, cols: Ints, field: int) -> Floats:
    bits = random_bits(field, rows[:, None], cols[None, :])
    return (bits >> np.uint32(8)).astype(np.float32) * np.float32(_SPREAD / 2**23) - np.float32(_SPREAD)


def _splines(at: Ints, cell: int) -> tuple[Ints, tuple[Floats, Floats, Floats]]:
    first, rest = np.divmod(at, cell)
    t = rest.astype(np.float32) / np.float32(cell)
    half = np.float32(0.5)
    return first, (half * (1 - t) * (1 - t), half + t * (1 - t), half * t * t)
