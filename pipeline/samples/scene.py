"""An endless aerial scene at 0.5 m, drawn tile by tile: smooth terrain, tables along the streets, roofs one by one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.samples.noise import Floats, Ints, key, random_bits, smooth_noise
from pipeline.samples.roofs import draw_roof, find_roofs
from pipeline.samples.streets import (
    HEDGE,
    PAINT,
    PLOTS,
    RIB_AXIS,
    ROAD,
    STREETS,
    STRIP,
    TOWN,
    VERGE,
    Streets,
    color_code,
    make_streets,
)
from pipeline.samples.terrain import BLOCK_UNITS, FINE, STEP, Terrain, make_terrain, stretch

CLASSES = ("building", "land", "road", "vegetation", "water")
"""Classes of a sample scene, by label: roofs, fields and gardens, roads, trees and water."""
SCENE_TRANSFORM = (500000.0, 0.5, 0.0, 4500000.0, 0.0, -0.5)
"""GDAL geotransform of a sample scene: corner x, pixel width, 0, corner y, 0, minus pixel height, in meters."""
SCENE_CRS = "EPSG:32633"
"""CRS of a sample scene."""

_TILE = (512, 512)
_PAD = 6


def scene_rows(start: int, stop: int, width: int, *, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return RGB `(3, stop - start, width)` and labels `(stop - start, width)` of rows `start..stop` of a scene.

    Labels are indices into `CLASSES`. A scene has no last row, and a narrower one is the left part of a wider one.

    Raises:
        ValueError: if the rows run backwards or the width is negative.

    """
    if stop < start or width < 0:
        raise ValueError(f"a scene needs start <= stop and a width of at least 0, got {start}, {stop} and {width}")
    image = np.empty((3, stop - start, width), np.uint8)
    labels = np.empty((stop - start, width), np.uint8)
    for top in range(start, stop, _TILE[0]):
        for left in range(0, width, _TILE[1]):
            rows, cols = np.arange(top, min(top + _TILE[0], stop)), np.arange(left, min(left + _TILE[1], width))
            place = slice(top - start, top - start + len(rows)), slice(left, left + len(cols))
            image[:, *place], labels[place] = _tile(rows, cols, seed)
    return image, labels


def _tile(rows: Ints, cols: Ints, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rows, cols = (np.arange(at[0] - _PAD, at[-1] + _PAD + 1) for at in (rows, cols))
    terrain = make_terrain(rows, cols, seed)
    streets = make_streets(terrain.street, seed)
    image, labels = _ground(_survey(terrain, streets, rows, cols, seed))
    for roof in find_roofs(terrain, streets, seed):
        draw_roof(roof, image, labels, rows, cols)
    return _expose(image, rows, cols, seed), labels[_PAD:-_PAD, _PAD:-_PAD]


class _Place(NamedTuple):
    """Fields of a tile before it is drawn, `(rows, cols)` each."""

    u: NDArray[np.int32]
    """Street units along the first street axis, counted from the first block of the tile."""
    v: NDArray[np.int32]
    river: Floats
    lake: Floats
    wood: Floats
    soil: Floats
    light: Floats
    crown: Floats
    """Height of the tree crowns, of zero mean."""
    marks: NDArray[np.int32]
    plots: NDArray[np.int32]
    looks: NDArray[np.int32]


class _Cover(NamedTuple):
    """What covers the land, as masks of `(rows, cols)`; the later wins."""

    verge: NDArray[np.bool_]
    wet: NDArray[np.bool_]
    green: NDArray[np.bool_]
    street: NDArray[np.bool_]
    road: NDArray[np.bool_]
    paint: NDArray[np.bool_]


_LAND, _ROAD, _VEGETATION, _WATER = range(1, len(CLASSES))
_COVERS = (
    (color_code(124, 130, 82), _LAND),
    (color_code(54, 84, 90), _WATER),
    (color_code(58, 80, 44), _VEGETATION),
    (color_code(136, 135, 136), _ROAD),
    (color_code(104, 104, 107), _ROAD),
    (color_code(206, 206, 200), _ROAD),
)
"""Color and label of each field of `_Cover`."""


def _ground(place: _Place) -> tuple[Floats, NDArray[np.uint8]]:
    """RGB `(3, rows, cols)` as light, about 0 to 255, and labels `(rows, cols)`: everything but roofs."""
    cover = _cover(place)
    shade = _shade(place, cover)
    looks, labels = place.looks, np.full(shade.shape, _LAND, np.uint8)
    for where, (color, label) in zip(cover, _COVERS, strict=True):
        np.copyto(looks, np.int32(color), where=where)
        np.copyto(labels, np.uint8(label), where=where)
    image = np.empty((3, *shade.shape), np.float32)
    for band in range(3):
        np.multiply((looks >> 8 * band & 255).astype(np.float32), shade, out=image[band])
    return image, labels


def _survey(terrain: Terrain, streets: Streets, rows: Ints, cols: Ints, seed: int) -> _Place:
    origin = streets.first[:, None, None] * (BLOCK_UNITS * FINE)
    street = (terrain.street - origin).astype(np.int32)
    u, v = (stretch(at, terrain, rows, cols) // (FINE * STEP**2) for at in street)
    river, lake, wood, soil, light = (
        stretch(field * np.float32(1 / STEP**2), terrain, rows, cols)
        for field in (terrain.river, terrain.lake, terrain.wood, terrain.soil, terrain.light)
    )
    crown = smooth_noise(rows, cols, 9, key(seed, 90)) + np.float32(0.5) * smooth_noise(rows, cols, 4, key(seed, 91))
    return _Place(u, v, river, lake, wood, soil, light, crown, *_look_up(streets, u, v))


def _look_up(
    streets: Streets, u: NDArray[np.int32], v: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Line marks, plot marks and looks of the land, `(rows, cols)` each."""
    block = u // BLOCK_UNITS * np.int32(streets.blocks[1]) + v // BLOCK_UNITS
    du, dv = u % BLOCK_UNITS, v % BLOCK_UNITS
    across, along = (
        table.ravel().take(block * BLOCK_UNITS + at) for table, at in zip(streets.lines, (du, dv), strict=True)
    )
    plot = block * PLOTS**2 + du // (BLOCK_UNITS // PLOTS) * PLOTS + dv // (BLOCK_UNITS // PLOTS)
    plots = streets.plots.ravel().take(plot)
    parcel = block * PLOTS**2 + across // STRIP * PLOTS + along // STRIP
    land = np.where(plots & TOWN > 0, plot + np.int32(streets.plots.size), parcel)
    return across | along, plots, streets.land.ravel().take(land)


def _cover(place: _Place) -> _Cover:
    town = place.plots & TOWN > 0
    hedge = (place.marks & HEDGE > 0) & ~town
    wet = (place.river > 0) | (place.lake > 0)
    road = (place.marks & ROAD > 0) & (place.lake < 0)
    street = (place.marks & place.plots & sum(STREETS) > 0) & ~wet
    trees = np.where(town, np.float32(-2.4), place.wood)
    trees += place.crown
    trees += (place.looks >> 28).astype(np.float32)
    trees += hedge * np.float32(2.5)
    green = (trees > 0) & ~(road | street | wet)
    return _Cover((place.marks & VERGE > 0) | hedge, wet, green, street, road, road & (place.marks & PAINT > 0))


def _shade(place: _Place, cover: _Cover) -> Floats:
    """Brightness of each pixel, about 1: furrows and soil on land, relief on crowns, depth on water; shadows; light."""
    rib = np.abs((np.where(place.looks & RIB_AXIS > 0, place.u, place.v) % 16).astype(np.float32) - np.float32(7.5))
    depth = (place.looks >> 24 & 7).astype(np.float32) * np.float32(0.004)
    shade: Floats = np.float32(1) + np.float32(0.05) * place.soil + (rib - np.float32(4)) * depth
    shore = np.maximum(place.river, place.lake) * np.float32(0.012)
    np.copyto(shade, np.clip(np.float32(1.2) - shore, 0.75, 1.2), where=cover.wet & ~cover.road)
    relief = np.float32(1) + np.float32(0.44) * place.crown
    relief[:-2, :-2] -= np.float32(0.32) * place.crown[2:, 2:]
    np.copyto(shade, np.clip(relief, 0.35, 1.7), where=cover.green)
    shadow = ~cover.green
    shadow[:-4, :-3] &= cover.green[4:, 3:]
    shadow[-4:], shadow[:, -3:] = False, False
    np.multiply(shade, np.float32(0.62), out=shade, where=shadow)
    shade *= place.light
    return shade


def _expose(image: Floats, rows: Ints, cols: Ints, seed: int) -> NDArray[np.uint8]:
    """Photograph of the light: blurred by about a pixel, noisy, 8 bit; without the pad."""
    light = image[:, _PAD - 1 : 1 - _PAD, _PAD - 1 : 1 - _PAD]
    tall = light[:, :-2] + light[:, 2:] + np.float32(2) * light[:, 1:-1]
    soft = tall[:, :, :-2] + tall[:, :, 2:] + np.float32(2) * tall[:, :, 1:-1]
    grain = random_bits(key(seed, 95), rows[_PAD:-_PAD, None], cols[None, _PAD:-_PAD])
    for band in range(3):
        soft[band] += (grain >> np.uint32(8 * band) & np.uint32(127)).astype(np.float32)
    seen: NDArray[np.uint8] = np.clip(soft * np.float32(1 / 16) - np.float32(3.5), 0, 255).astype(np.uint8)
    return seen
