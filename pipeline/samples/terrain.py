"""The smooth fields of a scene, known every 8 pixels: street coordinates, water, woods, soil and light."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.samples.noise import Floats, Ints, key, smooth_noise

BLOCK = (512, 384)
"""Pixels between main roads, per street axis, before bending."""
BLOCK_UNITS = 1024
"""Street units to a block, on either street axis."""
FINE = 16
"""Steps to a street unit in `Terrain.street`."""
STEP = 8
"""Pixels between lattice points."""

_REACH = 72
_T = TypeVar("_T", np.float32, np.int32)


class Terrain(NamedTuple):
    """Smooth fields on a lattice, each `(len(rows), len(cols))`; pure functions of the lattice point."""

    rows: Ints
    """Scene rows of the lattice, multiples of `STEP`."""
    cols: Ints
    """Scene columns of the lattice, multiples of `STEP`."""
    street: Ints
    """Street coordinates `(2, rows, cols)` in 1/`FINE` units; main roads are at whole blocks."""
    river: Floats
    """Pixels inside the bank of a river, negative outside."""
    lake: Floats
    """Pixels inside the shore of a lake, about; negative outside."""
    wood: Floats
    """Height of the woods' floor against their crowns (zero mean, unit variance): trees where the sum is > 0."""
    soil: Floats
    """Patches of zero mean and unit variance."""
    light: Floats
    """Illumination, about 1."""


def make_terrain(rows: Ints, cols: Ints, seed: int) -> Terrain:
    """Return the terrain of the consecutive `rows` x `cols`, and enough around them for objects that reach in."""
    y = np.arange((rows[0] - _REACH) // STEP, (rows[-1] + _REACH) // STEP + 2) * STEP
    x = np.arange((cols[0] - _REACH) // STEP, (cols[-1] + _REACH) // STEP + 2) * STEP
    river, lake = (
        _river(y, x, seed),
        _mix(y, x, seed, 14, (720, 250), (460, 170), (230, 90), (70, 22)) - np.float32(430),
    )
    soil = _mix(y, x, seed, 30, (160, 0.8), (48, 0.6))
    light = np.float32(1) + _mix(y, x, seed, 40, (1500, 0.06), (400, 0.03))
    wood = _wood(y, x, np.maximum(river, lake), seed)
    return Terrain(y, x, _street(y, x, seed), river, lake, wood, soil, light)


def stretch(field: NDArray[_T], terrain: Terrain, rows: Ints, cols: Ints) -> NDArray[_T]:
    """Return `STEP`² times `field`, interpolated linearly to `rows` x `cols`: exact for integers."""
    kind = field.dtype.type
    (i, dy), (j, dx) = np.divmod(rows - terrain.rows[0], STEP), np.divmod(cols - terrain.cols[0], STEP)
    strips = field[:, j] * kind(STEP) + (field[:, j + 1] - field[:, j]) * dx.astype(field.dtype)
    out: NDArray[_T] = np.diff(strips, axis=0)[i]
    out *= dy[:, None].astype(field.dtype)
    out += (strips * kind(STEP))[i]
    return out


def _mix(y: Ints, x: Ints, seed: int, salt: int, *octaves: tuple[int, float]) -> Floats:
    total = np.zeros((len(y), len(x)), np.float32)
    for at, (cell, weight) in enumerate(octaves):
        total += smooth_noise(y, x, cell, key(seed, salt + at)) * np.float32(weight)
    return total


def _street(y: Ints, x: Ints, seed: int) -> Ints:
    turn = (key(seed, 1) % 1000) / 1250 - 0.4
    cosine, sine = (1 - turn * turn) / (1 + turn * turn), 2 * turn / (1 + turn * turn)
    u = cosine * x[None, :] + sine * y[:, None] + _mix(y, x, seed, 2, (960, 100), (320, 18))
    v = cosine * y[:, None] - sine * x[None, :] + _mix(y, x, seed, 4, (960, 100), (320, 18))
    return np.rint(np.stack([u / BLOCK[0], v / BLOCK[1]]) * (BLOCK_UNITS * FINE)).astype(np.int64)


def _river(y: Ints, x: Ints, seed: int) -> Floats:
    bend = (x[None, :] + 0.2 * y[:, None]) / 1700 + _mix(y, x, seed, 6, (1400, 0.22), (480, 0.06), (120, 0.008))
    half = np.clip(26 + _mix(y, x, seed, 10, (640, 8)), 8, 45)
    inside: Floats = (half - np.abs(bend - np.rint(bend)) * 1400).astype(np.float32)
    return inside


def _wood(y: Ints, x: Ints, water: Floats, seed: int) -> Floats:
    wood = _mix(y, x, seed, 20, (600, 4), (200, 2.5), (72, 1.5)) - np.float32(3)
    bank = np.float32(-1) + water * np.float32(0.06)
    floor: Floats = np.clip(np.maximum(wood, np.minimum(bank, np.float32(-0.5))), np.float32(-4), np.float32(3))
    return floor
