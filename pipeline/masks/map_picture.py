"""Draw the mask of a scene as a map: over its image, with a legend, a scale bar and an arrow to the north."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import ceil, cos, floor, log10, radians, sin
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.classes import ClassTable, LabelClass
from pipeline.engine import Source
from pipeline.errors import InputError
from pipeline.files.atomic import atomic_write
from pipeline.geometry import Box
from pipeline.geometry.grid import difference
from pipeline.io.drawing import (
    INK,
    PAPER,
    POINTS,
    PRINT_INCHES,
    Picture,
    Polygon,
    Rectangle,
    Shape,
    Words,
    fitting,
    legend_of,
    paint,
    png_of,
    svg_of,
)
from pipeline.io.mask import Mask, model_names
from pipeline.io.opening import open_source
from pipeline.io.raster.geopdf import write_geopdf
from pipeline.io.raster.ground import Ground
from pipeline.io.reduced import read_reduced
from pipeline.masks.image import image_beside
from pipeline.masks.paint import UNKNOWN, first_three, paint_image, ranges_of, shown_bands
from pipeline.sources.passes import slabs

_LONGEST, _LEAST = 2048, 512
"""Pixels of the longer side: at most, and at least for small scenes, whose cells are enlarged."""
_SCREEN_DPI = 150
"""Dots per inch of a page that is not asked for as a print."""
_OPACITY = 0.6
"""Of classes over an image."""
_EVEN = 0.1
"""Difference between the sides of a pixel up to which one scale is given for both."""
_LISTED = 24
"""Classes that are all in the legend; of more, those that can be seen are."""


@dataclass(frozen=True)
class MapOptions:
    """How a map is drawn."""

    image: str | Path | None = None
    """The image under the mask; None: the one beside the mask, if it is there."""
    opacity: float | None = None
    """Opacity of the classes over the image, 0 to 1; None: 0.6."""
    dpi: int | None = None
    """Dots per inch of a print of 180 mm; None: for a screen."""


@dataclass(frozen=True)
class _Frame:
    """The pixels of a map: each stands for `step` cells, or is one of `zoom` for a cell."""

    step: int
    zoom: int
    size: float
    """Of words, in pixels."""


@dataclass(frozen=True)
class _Map:
    """A map and what is below it."""

    picture: Picture
    frame: _Frame
    below: tuple[Shape, ...]
    height: int
    """Of all that is below."""
    width: int


def write_map(mask: Mask, at: Path, path: Path, options: MapOptions) -> None:
    """Write the map of a mask at the path `at` as `.png`, `.svg` or `.pdf`.

    Raises:
        InputError: If the image is on another grid, or cannot be read.
        OutputError: If the file cannot be written.

    """
    drawn = _draw(mask, at, options)
    _WRITERS[path.suffix.lower()](drawn, mask, path, options.dpi)


def _draw(mask: Mask, at: Path, options: MapOptions) -> _Map:
    frame = _frame_of(mask.grid.shape, options.dpi)
    labels = _thinned(mask.labels, frame.step)
    image = _image(mask, at, options, frame, labels.shape)
    classes = _shown_classes(mask.classes, labels, over=image is not None)
    opacity = 1.0 if image is None else _OPACITY if options.opacity is None else options.opacity
    picture = _blended(labels, image, mask, opacity)
    picture = picture.repeat(frame.zoom, axis=0).repeat(frame.zoom, axis=1)
    width = max(picture.shape[1], round(32 * frame.size))
    below, height = _footer(mask, at, frame, classes, picture.shape[1], width)
    return _Map(picture, frame, below, height, width)


def _frame_of(shape: tuple[int, ...], dpi: int | None) -> _Frame:
    longest = _LONGEST if dpi is None else round(PRINT_INCHES * dpi)
    least = _LEAST if dpi is None else longest
    step = ceil(max(shape) / longest)
    pixels = ceil(max(shape) / step)
    zoom = max(1, least // pixels)
    return _Frame(step, zoom, max(12, round(pixels * zoom / 85)) if dpi is None else POINTS * dpi / 72)


def _thinned(labels: Source, step: int) -> NDArray[np.generic]:
    """Return every n-th cell, those in the middle of the parts that they stand for."""
    return np.concatenate(
        [
            pixels.values[0][(step // 2 - box.start[0]) % step :: step, step // 2 :: step]
            for box, pixels in slabs(labels)
        ]
    )


def _image(mask: Mask, at: Path, options: MapOptions, frame: _Frame, shape: tuple[int, ...]) -> Picture | None:
    """Return the image in the pixels of a map, with alpha; None without one."""
    given = options.image or image_beside(at, mask.provenance)
    if given is None:
        return None
    with closing(open_source(given)) as whole:
        words, bands = difference(mask.grid, whole.grid), shown_bands(whole, None)
    if words and options.image is None:
        return None
    if words:
        raise InputError(
            f"the mask is on another grid than {given}: {words}; give the scene that the mask was made from",
            code="unsuitable",
        )
    power = 1 << frame.step.bit_length() - 1
    with closing(open_source(given, bands=bands)) as source:
        pixels = first_three(read_reduced(source, Box.whole(source.grid.shape), power))
    rows, columns = ((frame.step // 2 + frame.step * np.arange(side)) // power for side in shape)
    picture: Picture = paint_image(pixels, ranges_of(pixels))[np.ix_(rows, columns)]
    return picture


def _blended(labels: NDArray[np.generic], image: Picture | None, mask: Mask, opacity: float) -> Picture:
    """Return the colors of labels over an image; nodata, and the background of an image, are transparent."""
    size = 1 << 8 * mask.labels.dtype.itemsize
    colors, shares = np.full((size, 3), UNKNOWN, np.float32), np.full(size, opacity, np.float32)
    for entry in mask.classes:
        colors[entry.value] = entry.color
        if image is not None and entry.is_background:
            shares[entry.value] = 0
    shares[mask.nodata] = 0
    below = np.full((*labels.shape, 3), PAPER, np.float32)
    if image is not None:
        below = np.where(image[..., 3:] > 0, image[..., :3], below).astype(np.float32)
    share = shares[labels][..., None]
    blended: Picture = np.rint(below * (1 - share) + colors[labels] * share).astype(np.uint8)
    return blended


def _shown_classes(classes: ClassTable, labels: NDArray[np.generic], *, over: bool) -> list[LabelClass]:
    listed = [entry for entry in classes if not (over and entry.is_background)]
    if len(listed) <= _LISTED:
        return listed
    seen = set(np.unique(labels).tolist())
    return [entry for entry in listed if entry.value in seen]


def _footer(
    mask: Mask, at: Path, frame: _Frame, classes: Sequence[LabelClass], columns: int, width: int
) -> tuple[tuple[Shape, ...], int]:
    """Return what is below a map, and its height: scale and north, the legend, and what it is of."""
    size, ground = frame.size, Ground(mask.grid)
    first = 1.4 * size
    shapes = [*_scale(ground, frame, columns, first), *_north(ground.north, width - 1.2 * size, first, size)]
    entries, bottom = legend_of([(entry.name, entry.color) for entry in classes], size, width, 2.8 * size)
    words = [at.name, " + ".join(model_names(mask.provenance)), str(ground.describe()["crs"] or "no CRS")]
    caption = fitting(" \u00b7 ".join(filter(None, words)), 0.8 * size, width - size)
    return (*shapes, *entries, Words((size / 2, bottom + 0.8 * size), caption, 0.8 * size)), ceil(bottom + 1.8 * size)


def _scale(ground: Ground, frame: _Frame, columns: int, middle: float) -> list[Shape]:
    """Return a bar of a round length of at most a third of the map, in four parts, and its length."""
    meters = ground.describe()["meters"]
    unit = (meters[1] if meters else 1.0) * frame.step / frame.zoom
    length = _round_down(columns / 3 * unit)
    pixels, size = length / unit, frame.size
    part = pixels / 4
    colors = (INK, PAPER)
    bars = [
        Rectangle(size / 2 + number * part, middle - size / 4, part, size / 2, colors[number % 2], colors[0])
        for number in range(4)
    ]
    across = " across" if meters and abs(meters[0] / meters[1] - 1) > _EVEN else ""
    return [*bars, Words((size + pixels, middle), _length_text(length, known=bool(meters)) + across, size)]


def _round_down(length: float) -> float:
    """Return the largest of 1, 2, 5, 10, 20, ... that is at most `length`.

    >>> _round_down(1999), _round_down(50), _round_down(0.7)
    (1000.0, 50.0, 0.5)
    """
    power = 10.0 ** floor(log10(length))
    return next(times * power for times in (5, 2, 1) if times * power <= length)


def _length_text(length: float, *, known: bool) -> str:
    if not known:
        return f"{length:g} pixels"
    return f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"


def _north(direction: float | None, x: float, y: float, size: float) -> list[Shape]:
    if direction is None:
        return []
    turn = radians(direction)
    outline = ((0.0, -1.1), (0.5, 0.8), (0.0, 0.4), (-0.5, 0.8))
    corners = [
        (across * cos(turn) - down * sin(turn), across * sin(turn) + down * cos(turn)) for across, down in outline
    ]
    arrow = Polygon(tuple((x + size * across, y + size * down) for across, down in corners))
    return [arrow, Words((x - 1.4 * size, y), "N", size, "end")]


def _page(drawn: _Map) -> Picture:
    """Return the map with what is below it."""
    rows, columns = drawn.picture.shape[:2]
    whole = np.full((rows + drawn.height, drawn.width, 3), 255, np.uint8)
    whole[:rows, :columns] = drawn.picture
    whole[rows:] = paint(drawn.below, drawn.height, drawn.width)
    return whole


def _write_png(drawn: _Map, mask: Mask, path: Path, dpi: int | None) -> None:
    with atomic_write(path) as draft:
        draft.write_bytes(png_of(_page(drawn), dpi=dpi))


def _write_svg(drawn: _Map, mask: Mask, path: Path, dpi: int | None) -> None:
    height = drawn.picture.shape[0] + drawn.height
    with atomic_write(path) as draft:
        draft.write_text(svg_of(drawn.picture, drawn.below, height, drawn.width, path.stem), encoding="utf-8")


def _write_pdf(drawn: _Map, mask: Mask, path: Path, dpi: int | None) -> None:
    rows, columns = drawn.picture.shape[:2]
    cells, picture = drawn.frame.step / drawn.frame.zoom, _page(drawn).transpose(2, 0, 1)
    write_geopdf(path, mask.grid, cells, picture, rows, columns, dpi or _SCREEN_DPI)


_WRITERS: dict[str, Callable[[_Map, Mask, Path, int | None], None]] = {
    ".png": _write_png,
    ".svg": _write_svg,
    ".pdf": _write_pdf,
}
