"""Roads, streets, hedges, parcels and garden plots by street coordinate, as lookup tables.

A block of 1024 x 1024 street units is between main roads. In the country it is cut into strips along both axes, whose
crossings are parcels; in a town it is cut into 8 x 8 garden plots, with a street every 2 plots or every 4.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.samples.noise import Ints, key, random_bits, smooth_noise
from pipeline.samples.terrain import BLOCK, BLOCK_UNITS, FINE

Codes = NDArray[np.int32]

ROAD, PAINT, HEDGE, VERGE, STRIP = 1, 2, 4, 8, 64
"""Marks of `Streets.lines`; the index of the parcel strip is counted in units of `STRIP`."""
STREETS = (16, 32)
"""Mark of a street across either axis: in `Streets.lines` where one could be, in `Streets.plots` where one is."""
TOWN = 1
"""Mark of `Streets.plots`: is built up."""
RIB_AXIS = 1 << 27
"""Mark of `Streets.land`: ribs count along the first street axis."""
PLOTS = 8
"""Plots to a block, on either street axis."""

_FIELDS = (
    (122, 97, 73), (146, 121, 91), (182, 160, 121), (197, 178, 137), (166, 165, 106), (150, 156, 98),
    (205, 190, 142), (131, 98, 78), (154, 149, 112), (134, 148, 92), (170, 150, 110), (138, 128, 88),
)  # fmt: skip
_GARDENS = ((136, 144, 92), (148, 152, 104), (122, 136, 84), (170, 160, 128), (158, 148, 112), (186, 178, 156))


class Streets(NamedTuple):
    """Tables over the blocks of a tile; the second street axis counts fastest."""

    first: Ints
    """Index of the first block per street axis."""
    blocks: Ints
    """Number of blocks per street axis."""
    lines: tuple[Codes, Codes]
    """Per street axis: marks and strip at each unit along it, `(blocks, BLOCK_UNITS)`."""
    plots: Codes
    """Marks of each plot, `(blocks, PLOTS, PLOTS)`."""
    land: Codes
    """Looks of each parcel, then of each plot, `(2, blocks, 64)`.

    Bits 0-23 are a color code, 24-26 the depth of its ribs, 27 their axis, 28-30 how freely trees grow there.
    """


def make_streets(street: Ints, seed: int) -> Streets:
    """Return the tables for all blocks that the street coordinates `(2, rows, cols)` touch."""
    low, high = (edge // (BLOCK_UNITS * FINE) for edge in (street.min(axis=(1, 2)), street.max(axis=(1, 2))))
    i, j = (np.arange(a, b + 1) for a, b in zip(low, high, strict=True))
    lines = _lines(i, j, 0, seed), _lines(i, j, 1, seed)
    return Streets(low, high - low + 1, lines, _plots(i, j, seed), _land(i, j, seed))


def _lines(i: Ints, j: Ints, axis: int, seed: int) -> Codes:
    at = np.arange(BLOCK_UNITS)
    pixel = BLOCK_UNITS / BLOCK[axis]
    code = np.zeros((len(i) * len(j), BLOCK_UNITS), np.int32)
    for side, gap in ((0, at), (1, BLOCK_UNITS - at)):
        road = _bits(i + side * (axis == 0), j + side * (axis == 1), seed, 50 + axis)
        code |= _road(road, gap / pixel)
    lane = BLOCK_UNITS // (4, 2)[axis]
    code[:, np.minimum(at % lane, -at % lane) < 3.5 * pixel] |= STREETS[axis]
    return code + _strips(_bits(i, j, seed, 52 + axis), at, (5, 3)[axis], pixel)


def _road(bits: NDArray[np.uint32], gap: NDArray[np.float64]) -> Codes:
    half = np.where(bits % 100 < 88, 4.5 + (bits >> 8) % 3, -99)[:, None]
    code = np.where(gap < half, ROAD, np.where(gap < half + 4, VERGE, 0))
    return (code | np.where((gap < 0.6) & (half > 6), PAINT, 0)).astype(np.int32)


def _strips(bits: NDArray[np.uint32], at: Ints, most: int, pixel: float) -> Codes:
    count = (bits % most + 1)[:, None].astype(np.int64)
    code = np.zeros((len(bits), len(at)), np.int32)
    for cut in range(1, most):
        wobble = (bits >> (5 * cut) & 127)[:, None].astype(np.int64) - 64
        gap = at - np.where(cut < count, BLOCK_UNITS * cut // count + wobble, 2 * BLOCK_UNITS)
        code += (gap >= 0) * STRIP
        code |= np.where(np.abs(gap) < 2.5 * pixel, HEDGE, 0)
    return code


def _plots(i: Ints, j: Ints, seed: int) -> Codes:
    u, v = (np.arange(at[0] * PLOTS - 1, (at[-1] + 1) * PLOTS + 1) for at in (i, j))
    density = smooth_noise(u, v, 11, key(seed, 60)) + np.float32(0.5) * smooth_noise(u, v, 4, key(seed, 61))
    town = density > 0.55
    farm = random_bits(key(seed, 62), u[:, None] >> 1, v[None, :] >> 1) % 100 < 5
    marks = np.where(town | farm, TOWN, 0)
    for axis, mark in enumerate(STREETS):
        across = np.take(town, np.arange(town.shape[axis]) ^ 1, axis)
        marks |= np.where(town | across, mark, 0)
    inner = marks[1:-1, 1:-1].reshape(len(i), PLOTS, len(j), PLOTS).transpose(0, 2, 1, 3)
    return inner.reshape(-1, PLOTS, PLOTS).astype(np.int32)


def _land(i: Ints, j: Ints, seed: int) -> Codes:
    at = np.arange(PLOTS * PLOTS)
    field, garden = (
        random_bits(key(seed, salt), i[:, None, None], j[None, :, None], at).reshape(-1, len(at)) for salt in (70, 71)
    )
    fields = _looks(_FIELDS, field, field >> 24 & 7, np.maximum(field >> 27, 26) - 26)
    return np.stack([fields, _looks(_GARDENS, garden, garden & 0, garden >> 27 & 3)])


def color_code(red: int, green: int, blue: int) -> int:
    """Return a color as one integer, red in the lowest byte.

    >>> hex(color_code(1, 2, 255))
    '0xff0201'
    """
    return red | green << 8 | blue << 16


def _looks(
    palette: tuple[tuple[int, int, int], ...],
    bits: NDArray[np.uint32],
    ribs: NDArray[np.integer[Any]],
    trees: NDArray[np.integer[Any]],
) -> Codes:
    tone = 230 + (bits >> 8) % 52
    red, green, blue = (
        np.array(band, np.uint32)[bits % len(palette)] * tone >> 8 for band in zip(*palette, strict=True)
    )
    looks = red | green << 8 | blue << 16 | ribs << 24 | trees << 28
    return (looks | np.where(bits & 4096, RIB_AXIS, 0)).astype(np.int32)


def _bits(i: Ints, j: Ints, seed: int, salt: int) -> NDArray[np.uint32]:
    return random_bits(key(seed, salt), i[:, None], j[None, :]).ravel()
