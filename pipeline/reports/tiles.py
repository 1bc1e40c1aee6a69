"""Pyramids of tiles: pictures small enough to lie inside a page, at every zoom that it shows."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, log2
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.engine import Source
from pipeline.engine.protocols import Pixels
from pipeline.io.raster.encode import encode
from pipeline.sources.overviews import overview_of
from pipeline.sources.percentiles import to_gray
from pipeline.sources.shrink import averaged, sampled
from pipeline.sources.validity import is_plausible

SIDE = 512
"""Pixels of a side of a tile."""
_DARK, _BRIGHT = 2, 98
"""Percentiles of an image that are black and white."""
Picture = NDArray[np.uint8]
"""`(channels, rows, columns)`."""
Tiles = dict[str, str]
"""Base64 of each tile by "zoom/column/row", zoom 0 being the coarsest; tiles with nothing in them are left out."""


@dataclass(frozen=True)
class Frame:
    """The pixels in which a scene is shown: each of them stands for the same part of its grid."""

    shape: tuple[int, int]
    """Rows and columns at the finest zoom."""
    cells: tuple[int, int]
    """Rows and columns of the grid."""

    @property
    def zooms(self) -> int:
        """Number of zooms: at the coarsest one, everything is in one tile."""
        return max(0, ceil(log2(max(self.shape) / SIDE))) + 1


def frame_of(cells: tuple[int, ...], most: int) -> Frame:
    """Return the frame of a grid, with at most `most` pixels along a side."""
    step = ceil(max(cells) / most)
    return Frame((ceil(cells[0] / step), ceil(cells[1] / step)), (cells[0], cells[1]))


def shrunk(source: Source, frame: Frame, how: Callable[[Source, tuple[int, int]], Pixels]) -> Pixels:
    """Return a scene in the pixels of a frame, from an overview if its file has one."""
    overview = None if frame.shape == frame.cells else overview_of(source, int(np.prod(frame.shape)), coarsest=True)
    try:
        return how(overview or source, frame.shape)
    finally:
        if overview is not None:
            overview.close()


def image_picture(source: Source, frame: Frame) -> Picture:
    """Return red, green, blue and alpha of a scene: its first three channels, or one in gray."""
    values, valid = shrunk(source, frame, averaged)
    shown = values[:3] if len(values) >= 3 else values[:1]
    seen = np.ones(frame.shape, np.bool_) if valid is None else valid
    planes = [_stretched(plane, seen, is_byte=source.dtype == np.uint8) for plane in shown]
    alpha = np.where(seen, 255, 0).astype(np.uint8)
    return np.stack([*(planes if len(planes) == 3 else planes * 3), alpha])


def _stretched(plane: NDArray[np.float32], seen: NDArray[np.bool_], *, is_byte: bool) -> NDArray[np.uint8]:
    if is_byte:
        return np.rint(plane).astype(np.uint8)
    inside = plane[seen & is_plausible(plane)]
    low, high = np.percentile(inside, (_DARK, _BRIGHT)) if inside.size else (0.0, 1.0)
    return to_gray(plane, low, high)


def label_picture(labels: NDArray[Any]) -> Picture:
    """Return labels as a picture: red holds the lower 8 bits, green the upper ones."""
    return np.stack([labels & 255, labels >> 8, np.zeros_like(labels)]).astype(np.uint8)


def labels_of(source: Source, frame: Frame, nodata: int) -> NDArray[Any]:
    """Return the labels of a scene in the pixels of a frame; what was not observed is `nodata`."""
    values, valid = shrunk(source, frame, sampled)
    return values[0] if valid is None else np.where(valid, values[0], nodata)


def label_tiles(labels: NDArray[Any], nodata: int) -> Tiles:
    """Return the pyramid of labels; at coarser zooms every second row and column is left out."""
    levels = _levels(labels[None], lambda finer: finer[:, ::2, ::2])
    return {
        name: _base64(encode(label_picture(tile[0]), "PNG"))
        for name, tile in _cut(levels, nodata)
        if (tile != nodata).any()
    }


def image_tiles(picture: Picture) -> Tiles:
    """Return the pyramid of an image with alpha; coarser zooms are averages."""
    return _picture_tiles(_levels(picture, _halved), "WEBP")


def layer_tiles(picture: Picture) -> Tiles:
    """Return the pyramid of values with alpha; at coarser zooms every second row and column is left out."""
    return _picture_tiles(_levels(picture, lambda finer: finer[:, ::2, ::2]), "PNG")


def _picture_tiles(levels: list[Picture], driver: Literal["PNG", "WEBP"]) -> Tiles:
    return {name: _base64(encode(tile, driver)) for name, tile in _cut(levels, 0) if tile[3].any()}


def _levels(finest: NDArray[Any], halve: Callable[[NDArray[Any]], NDArray[Any]]) -> list[NDArray[Any]]:
    """Return pictures from the coarsest to the finest."""
    levels = [finest]
    while max(levels[0].shape[1:]) > SIDE:
        levels.insert(0, halve(levels[0]))
    return levels


def _cut(levels: list[NDArray[Any]], empty: int) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield whole tiles with their names; beyond the edge they are `empty`."""
    for zoom, level in enumerate(levels):
        rows, columns = (range(0, length, SIDE) for length in level.shape[1:])
        for top in rows:
            for left in columns:
                part = level[:, top : top + SIDE, left : left + SIDE]
                tile = np.full((len(level), SIDE, SIDE), empty, level.dtype)
                tile[:, : part.shape[1], : part.shape[2]] = part
                yield f"{zoom}/{left // SIDE}/{top // SIDE}", tile


def _halved(picture: Picture) -> Picture:
    """Return the means of two by two pixels, weighted by alpha."""
    rows, columns = (length + length % 2 for length in picture.shape[1:])
    even = np.zeros((4, rows, columns), np.uint16)
    even[:, : picture.shape[1], : picture.shape[2]] = picture
    weight = even[3] // 255
    count = np.maximum(_fours(weight), 1)
    colors = [_fours(plane * weight) // count for plane in even[:3]]
    return np.stack([*colors, np.where(_fours(weight) > 0, 255, 0)]).astype(np.uint8)


def _fours(plane: NDArray[Any]) -> NDArray[Any]:
    summed: NDArray[Any] = plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]
    return summed


def _base64(content: bytes) -> str:
    return b64encode(content).decode("ascii")
