"""Draw a contact sheet of a volume's mask: slices side by side, with the outline of each structure over the image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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
from pipeline.io.drawing import POINTS, PRINT_INCHES, Color, Shape, Words, legend_of, png_of, svg_of
from pipeline.io.lettering import SIZE, height_of, legend, line
from pipeline.io.mask_files import Mask
from pipeline.io.raster.geopdf import write_pdf
from pipeline.masks.image import open_image
from pipeline.sources.passes import slabs
from pipeline.sources.percentiles import to_gray
from pipeline.sources.validity import is_plausible

SLICES = 20
"""Maximum number of slices."""
_SIDE, _GAP, _PLAIN = 160, 4, 40
"""Minimum pixels of a slice's shorter side; pixels between slices; gray level without an image."""
_SCREEN_DPI = 100
"""Dots per inch of a page that is not asked for as a print."""
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class _Sheet:
    """Slices as they are shown, and the words around them."""

    slices: Sequence[Picture]
    """Each `(3, rows, columns)`."""
    numbers: Sequence[int]
    """Their numbers in the file."""
    display: Display
    names: Sequence[tuple[str, Color]]
    """Structures and their colors."""
    size: float
    """Of words, in pixels."""


def write_sheet(
    mask: Mask, path: Path, image: str | Path | None, volume: int | None = None, dpi: int | None = None
) -> None:
    """Write up to `SLICES` slices, evenly spaced where there are structures, over `image` if it is given.

    Slices are those in which the file is stored, because others of a compressed file are slow to read. They are
    upright, with the number of each, counted from 0, and letters for the sides of the body; below are the names of the
    structures. The image is shown from its 1st to its 99th percentile in these slices. `dpi` is the resolution of a
    print of up to 180 mm, with words of 8 points; None: the sheet is for a screen. The file is `.png`, `.svg`, whose
    words are text, or `.pdf`.

    Raises:
        InputError: If the image is on another grid.
        OutputError: If the file cannot be written.

    """
    _WRITERS[path.suffix.lower()](_draw_sheet(mask, image, volume, dpi), path, dpi)


def _draw_sheet(mask: Mask, image: str | Path | None, volume: int | None, dpi: int | None) -> _Sheet:
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
    zoom = _zoom(display.show(slices[0]).shape, len(slices), dpi)
    pairs = zip(slices, gray, strict=True)
    tiles = [display.show(_draw(labels, under, colors, zoom, filled=image is None)) for labels, under in pairs]
    names = [(c.name, c.color) for c in mask.classes if c.value != background]
    return _Sheet(tiles, shown, display, names, SIZE if dpi is None else POINTS * dpi / 72)


def _page(sheet: _Sheet) -> Picture:
    """Return slices and words as one picture, `(rows, columns, 3)`."""
    numbered = zip(sheet.slices, sheet.numbers, strict=True)
    framed = [_frame(tile, sheet.display, f"{at}", sheet.size) for tile, at in numbered]
    slices = _arrange(framed)
    return np.concatenate([slices.transpose(1, 2, 0), legend(sheet.names, slices.shape[2], size=sheet.size)])


def _write_png(sheet: _Sheet, path: Path, dpi: int | None) -> None:
    with atomic_write(path) as draft:
        draft.write_bytes(png_of(_page(sheet), dpi=dpi))


def _write_svg(sheet: _Sheet, path: Path, dpi: int | None) -> None:
    blank = Display(False, (False, False), ("", "", "", ""))
    slices = _arrange([_frame(tile, blank, "", sheet.size) for tile in sheet.slices]).transpose(1, 2, 0)
    rows, columns = slices.shape[:2]
    below, bottom = legend_of(sheet.names, sheet.size, columns, sheet.size / 2)
    shapes = [*_words(sheet, rows), *below]
    with atomic_write(path) as draft:
        draft.write_text(svg_of(slices, shapes, rows + ceil(bottom), columns, path.stem), encoding="utf-8")


def _write_pdf(sheet: _Sheet, path: Path, dpi: int | None) -> None:
    write_pdf(path, _page(sheet).transpose(2, 0, 1), dpi or _SCREEN_DPI)


_WRITERS: dict[str, Callable[[_Sheet, Path, int | None], None]] = {
    ".png": _write_png,
    ".svg": _write_svg,
    ".pdf": _write_pdf,
}


def _words(sheet: _Sheet, rows: int) -> Iterator[Shape]:
    """Yield the words between slices, counted from the row where the legend begins."""
    left, right, top, bottom = sheet.display.marks
    _, tall, wide = sheet.slices[0].shape
    line_height, size = height_of(sheet.size), sheet.size
    height = tall + 2 * line_height
    for (down, across), number in zip(_places(len(sheet.slices), height, wide), sheet.numbers, strict=True):
        above = down - rows + line_height / 2
        under = above + line_height + tall
        yield Words((across + 2, above), left, size)
        yield Words((across + wide / 2, above), top, size, "middle")
        yield Words((across + wide - 2, above), right, size, "end")
        yield Words((across + 2, under), f"{number}", size)
        yield Words((across + wide / 2, under), bottom, size, "middle")


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


def _arrange(tiles: Sequence[Picture]) -> Picture:
    _, rows, columns = tiles[0].shape
    places = _places(len(tiles), rows, columns)
    bottom, right = places[-1][0] + rows, max(left for _, left in places) + columns
    sheet = np.zeros((3, bottom, right), np.uint8)
    for (top, left), tile in zip(places, tiles, strict=True):
        sheet[:, top : top + rows, left : left + columns] = tile
    return sheet


def _places(count: int, rows: int, columns: int) -> list[tuple[int, int]]:
    """Return the first row and column of each tile of a sheet."""
    across = ceil(sqrt(count))
    return [(at // across * (rows + _GAP), at % across * (columns + _GAP)) for at in range(count)]
