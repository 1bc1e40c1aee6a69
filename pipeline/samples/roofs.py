"""Roofs: one to a garden plot or to a group of plots, along the streets, each with its shadow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.samples.noise import Floats, Ints, key, random_bits
from pipeline.samples.streets import PLOTS, TOWN, Streets
from pipeline.samples.terrain import BLOCK_UNITS, FINE, STEP, Terrain

_PLOT = BLOCK_UNITS * FINE // PLOTS
_COLORS = np.array(
    [(168, 84, 62), (150, 72, 54), (184, 104, 78), (122, 110, 106), (112, 82, 70), (150, 148, 146), (206, 203, 198)],
    np.float32,
)
_FLAT = 5
_SHADOW = 8
_HALLS = 10
_HOUSES = 90


class Roof(NamedTuple):
    """A rectangle on the ground, in scene pixels."""

    y: int
    x: int
    cosine: np.float32
    """Of the angle from the columns to the first side."""
    sine: np.float32
    half: tuple[int, int]
    """Half lengths of the two sides."""
    color: int
    """Index into the roof colors; flat from 5 on."""


def find_roofs(terrain: Terrain, streets: Streets, seed: int) -> list[Roof]:
    """Return all roofs whose center is on the terrain's lattice: at most one per plot or group of 2 x 2."""
    small, large = _sites(terrain, _PLOT), _sites(terrain, 2 * _PLOT)
    hall = _draw(large.u, large.v, seed) % 100 < _HALLS
    house = _draw(small.u >> 1, small.v >> 1, seed) % 100 >= _HALLS
    house &= random_bits(key(seed, 81), small.u, small.v) % 100 < _HOUSES
    return [
        *_roofs(large, hall & _is_town(large, 2, streets), (30, 22), (14, 10), seed),
        *_roofs(small, house & _is_town(small, 1, streets), (10, 9), (10, 8), seed),
    ]


def draw_roof(roof: Roof, image: Floats, labels: NDArray[np.uint8], rows: Ints, cols: Ints) -> None:
    """Draw `roof` and its shadow into RGB `(3, rows, cols)` and labels `(rows, cols)`, as far as it reaches in."""
    reach = sum(roof.half) + 1
    top, left = roof.y - int(rows[0]), roof.x - int(cols[0])
    box = tuple(slice(max(0, at - reach - _SHADOW), max(0, at + reach)) for at in (top, left))
    dy, dx = rows[box[0]][:, None] - roof.y, cols[box[1]][None, :] - roof.x
    if not (dy.size and dx.size):
        return
    inside, ridge = _footprint(roof, dy, dx)
    dark = _footprint(roof, dy + _SHADOW, dx + _SHADOW)[0] | _footprint(roof, dy + _SHADOW // 2, dx + _SHADOW // 2)[0]
    view = image[:, *box]
    view *= np.where(dark & (labels[box] != 0), np.float32(0.5), np.float32(1))
    tone = np.where(ridge > 0, np.float32(1.08), np.float32(1.0 if roof.color >= _FLAT else 0.84))
    np.copyto(view, _COLORS[roof.color][:, None, None] * tone, where=inside)
    labels[box][inside] = 0


def _footprint(roof: Roof, dy: Ints, dx: Ints) -> tuple[NDArray[np.bool_], Floats]:
    """Whether each pixel is under the roof, and how far it is beyond the ridge."""
    y, x = dy.astype(np.float32), dx.astype(np.float32)
    along, across = x * roof.cosine + y * roof.sine, y * roof.cosine - x * roof.sine
    inside = (np.abs(along) < roof.half[0]) & (np.abs(across) < roof.half[1])
    return inside, across if roof.half[0] > roof.half[1] else along


class _Sites(NamedTuple):
    """Cells of the street grid whose center is within half a step of a lattice point; all arrays are flat."""

    y: NDArray[np.float64]
    x: NDArray[np.float64]
    u: Ints
    v: Ints
    cosine: NDArray[np.float64]
    sine: NDArray[np.float64]
    shore: Floats
    """Pixels inside a shore, negative on land."""


def _sites(terrain: Terrain, size: int) -> _Sites:
    (u, v), inner = terrain.street[:, 1:-1, 1:-1], (slice(1, -1), slice(1, -1))
    across = (terrain.street[:, 1:-1, 2:] - terrain.street[:, 1:-1, :-2]) / (2 * STEP)
    down = (terrain.street[:, 2:, 1:-1] - terrain.street[:, :-2, 1:-1]) / (2 * STEP)
    du, dv = (at // size * size + size // 2 - at for at in (u, v))
    area = across[0] * down[1] - down[0] * across[1]
    dx, dy = (du * down[1] - dv * down[0]) / area, (dv * across[0] - du * across[1]) / area
    here = (np.abs(dx) <= STEP / 2) & (np.abs(dy) <= STEP / 2)
    length = np.sqrt(across[0] * across[0] + down[0] * down[0])
    y, x = terrain.rows[1:-1, None] + dy, terrain.cols[None, 1:-1] + dx
    fields = (
        y,
        x,
        u // size,
        v // size,
        across[0] / length,
        down[0] / length,
        np.maximum(terrain.river, terrain.lake)[inner],
    )
    return _Sites(*(field[here] for field in fields))


def _is_town(sites: _Sites, plots: int, streets: Streets) -> NDArray[np.bool_]:
    """Whether the first of the `plots` x `plots` plots of each site is built up, on dry ground."""
    (i, du), (j, dv) = (np.divmod(at * plots, PLOTS) for at in (sites.u, sites.v))
    block = (i - streets.first[0]) * streets.blocks[1] + j - streets.first[1]
    built: NDArray[np.bool_] = streets.plots[block, du, dv] & TOWN > 0
    return built & (sites.shore < -30 * plots)


def _roofs(
    sites: _Sites, keep: NDArray[np.bool_], least: tuple[int, int], spread: tuple[int, int], seed: int
) -> Iterator[Roof]:
    bits = random_bits(key(seed, 82), sites.u, sites.v)
    half = least[0] + (bits >> 8) % spread[0], least[1] + (bits >> 16) % spread[1]
    color = (bits >> 24) % len(_COLORS)
    y, x = np.rint(sites.y).astype(np.int64), np.rint(sites.x).astype(np.int64)
    for at in np.flatnonzero(keep):
        sides = int(half[0][at]), int(half[1][at])
        yield Roof(
            int(y[at]), int(x[at]), np.float32(sites.cosine[at]), np.float32(sites.sine[at]), sides, int(color[at])
        )


def _draw(u: Ints, v: Ints, seed: int) -> NDArray[np.uint32]:
    return random_bits(key(seed, 80), u, v)
