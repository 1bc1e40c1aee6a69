"""Draw a contact sheet of a volume's mask: slices side by side, with the outline of each structure over the image."""

from __future__ import annotations

from math import ceil, sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.classes import background_of
from pipeline.engine import Source
from pipeline.errors import InputError
from pipeline.files.atomic import atomic_write
from pipeline.geometry import Box
from pipeline.geometry.grid import difference
from pipeline.geometry.orientation import Display, display_of
from pipeline.io.drawing import POINTS, PRINT_INCHES, png_of
from pipeline.io.lettering import SIZE, legend, line
from pipeline.io.mask_files import Mask
from pipeline.masks.image import open_image
from pipeline.sources.passes import slabs
from pipeline.sources.percentiles import to_gray
from pipeline.sources.validity import is_plausible

SLICES = 20
"""Maximum number of slices."""
_SIDE, _GAP, _PLAIN = 160, 4, 40
"""Minimum pixels of a slice's shorter side; pixels between slices; gray level without an image."""
Picture = NDArray[np.uint8]


def write_sheet(
    mask: Mask, path: Path, image: str | Path | None, volume: int | None = None, dpi: int | None = None
) -> None:
    """Write a PNG of up to `SLICES` slices, evenly spaced where there are structures, over `image` if it is given.

    Slices are those in which the file is stored, because others of a compressed file are slow to read. They are
    upright, with the number of each, counted from 0, and letters for the sides of the body; below are the names of the
    structures. The image is shown from its 1st to its 99th percentile in these slices. `dpi` is the resolution of a
    print of up to 180 mm, with words of 8 points; None: the sheet is for a screen.

    Raises:
        InputError: If the image is on another grid.

    """
    background = background_of(mask.classes) or 0
    shown = _choose_slices(mask.labels, {background, mask.nodata})
    slices = [_slice(mask.labels, at) for at in shown]
    gray = (
        [np.full(one.shape, _PLAIN, np.uint8) for one in slices]
        if image is None
        else _gray_image(mask, image, volume, shown)
    )
    colors = {c.value: c.color for c in mask.classes if c.value != background}
    display = display_of(mask.grid)
    size = SIZE if dpi is None else POINTS * dpi / 72
    zoom = _zoom(display.show(slices[0]).shape, len(slices), dpi)
    pairs = zip(slices, gray, strict=True)
    tiles = [_draw(labels, under, colors, zoom, filled=image is None) for labels, under in pairs]
    framed = [_frame(display.show(tile), display, f"{at}", size) for tile, at in zip(tiles, shown, strict=True)]
    sheet = _arrange(framed)
    names = legend([(c.name, c.color) for c in mask.classes if c.value != background], sheet.shape[2], size=size)
    whole = np.concatenate([sheet.transpose(1, 2, 0), names])
    with atomic_write(path) as draft:
        draft.write_bytes(png_of(whole, dpi=dpi))


def _zoom(shape: tuple[int, ...], count: int, dpi: int | None) -> int:
    """Return the pixels of a side of a cell: so many that slices are not too small, or that a print is filled."""
    if dpi is None:
        return max(1, ceil(_SIDE / min(shape)))
    across = ceil(sqrt(count))
    return max(1, int((PRINT_INCHES * dpi - _GAP * (across - 1)) / (across * shape[1])))


def _frame(tile: Picture, display: Display, name: str, size: float) -> Picture:
    """Return a slice between two lines with its number and the sides of the body."""
    left, right, top, bottom = display.marks
    width = tile.shape[2]
    above, below = line(width, left, top, right, size=size), line(width, name, bottom, size=size)
    return np.concatenate([above.transpose(2, 0, 1), tile, below.transpose(2, 0, 1)], axis=1)


def _gray_image(mask: Mask, image: str | Path, volume: int | None, shown: list[int]) -> list[Picture]:
    """Return the slices of the image in gray."""
    source = open_image(image, volume)
    try:
        words = difference(mask.grid, source.grid)
        if words or source.channels != 1:
            raise InputError(
                f"the mask is on another grid than {image}: {words or f'{source.channels} channels'}; give the "
                "volume that the mask was made from",
                code="unsuitable",
            )
        return _to_gray([_slice(source, at) for at in shown])
    finally:
        source.close()


def _choose_slices(labels: Source, empty: set[int]) -> list[int]:
    """Choose slices evenly spaced from the first to the last with a structure; from all slices if there is none."""
    with_some = [
        box.start[0] + index
        for box, pixels in slabs(labels)
        for index, one in enumerate(pixels.values[0])
        if not set(np.unique(one).tolist()) <= empty
    ]
    first, last = (with_some[0], with_some[-1]) if with_some else (0, labels.grid.shape[0] - 1)
    return sorted({round(at) for at in np.linspace(first, last, SLICES).tolist()})


def _slice(source: Source, at: int) -> NDArray[np.generic]:
    rows, columns = source.grid.shape[1:]
    found: NDArray[np.generic] = source.read(Box((at, 0, 0), (at + 1, rows, columns))).values[0, 0]
    return found


def _to_gray(slices: list[NDArray[np.generic]]) -> list[Picture]:
    values = [np.asarray(one, np.float32) for one in slices]
    seen = np.concatenate([one[is_plausible(one)] for one in values]) if values else np.zeros(1)
    low, high = np.percentile(seen, (1, 99)) if seen.size else (0.0, 1.0)
    return [to_gray(one, low, high) for one in values]


def _draw(
    labels: NDArray[np.generic], under: Picture, colors: dict[int, tuple[int, int, int]], zoom: int, *, filled: bool
) -> Picture:
    """Draw a slice, shape `(3, rows, columns)`, each cell `zoom` pixels wide, with outlines one pixel wide."""
    block = np.ones((zoom, zoom), np.uint8)
    large = np.kron(labels, block.astype(labels.dtype))
    picture = np.repeat(np.kron(under, block)[None], 3, 0)
    edge = np.zeros(large.shape, bool)
    for axis in (0, 1):
        step = np.diff(large, axis=axis) != 0
        near = [slice(None)] * 2
        for part in (slice(1, None), slice(None, -1)):
            near[axis] = part
            edge[tuple(near)] |= step
    for value, color in colors.items():
        at = (large == value) & (edge | filled)
        picture[:, at] = np.array(color, np.uint8)[:, None]
    return picture


def _arrange(tiles: list[Picture]) -> Picture:
    across = ceil(sqrt(len(tiles)))
    _, rows, columns = tiles[0].shape
    down = ceil(len(tiles) / across)
    sheet = np.zeros((3, down * (rows + _GAP) - _GAP, across * (columns + _GAP) - _GAP), np.uint8)
    for index, tile in enumerate(tiles):
        top, left = index // across * (rows + _GAP), index % across * (columns + _GAP)
        sheet[:, top : top + rows, left : left + columns] = tile
    return sheet
