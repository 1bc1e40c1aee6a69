"""Colors of tiles: of images by their range, of masks by class, of layers by a ramp."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.classes import ClassTable
from pipeline.engine import Pixels, Source
from pipeline.io.band_names import BandName, HasBands, bands_named
from pipeline.sources.percentiles import to_gray
from pipeline.sources.validity import is_plausible

Picture = NDArray[np.uint8]
"""`(rows, columns, 4)`: red, green, blue and alpha."""
Range = tuple[float, float]
RAMP = (
    *((68, 1, 84), (72, 40, 120), (62, 74, 137), (49, 104, 142), (38, 130, 142)),
    *((31, 158, 137), (53, 183, 121), (110, 206, 88), (181, 222, 43), (253, 231, 37)),
)
"""Colors of values from low to high: viridis, which rises in lightness and is read by color-blind people."""
UNKNOWN = (128, 128, 128)
"""Color of a value that has no class."""
_COLORS = ("red", "green", "blue")
_LOW, _HIGH = 2, 98
"""Percentiles of an image that are shown as black and white."""


def shown_bands(source: Source, asked: Sequence[BandName] | None) -> tuple[BandName, ...] | None:
    """Return the bands of an image that are shown as red, green and blue, or as gray; None: they cannot be chosen.

    These are the bands that are `asked` for, else those named so, else the first three, or the first of one or two.
    """
    if not isinstance(source, HasBands):
        return None
    if asked is not None:
        return tuple(asked)
    named = [bands_named(source.band_info, color) for color in _COLORS]
    if all(named):
        return tuple(numbers[0] for numbers in named)
    return source.bands[:3] if len(source.bands) > 2 else source.bands[:1]


def first_three(pixels: Pixels) -> Pixels:
    """Return the channels that are shown of a format in which bands cannot be chosen: three, or one of fewer."""
    return Pixels(pixels.values[: 3 if len(pixels.values) > 2 else 1], pixels.valid)


def ranges_of(pixels: Pixels) -> list[Range]:
    """Return what is shown as black and white in each channel: 0 and 255 of three of bytes, else percentiles."""
    values, valid = pixels
    if values.dtype == np.uint8 and len(values) == 3:
        return [(0.0, 255.0)] * len(values)
    return [_range_of(plane if valid is None else plane[valid]) for plane in values]


def _range_of(values: NDArray[Any]) -> Range:
    seen = values[is_plausible(values)]
    low, high = np.percentile(seen, (_LOW, _HIGH)) if seen.size else (0.0, 1.0)
    return float(low), float(max(high, low + 1e-9))


def paint_image(pixels: Pixels, ranges: list[Range]) -> Picture:
    """Return one channel in gray, or three as red, green and blue; what is not valid is transparent."""
    planes = [to_gray(plane, *ends) for plane, ends in zip(pixels.values, ranges, strict=True)]
    colors = planes if len(planes) == 3 else planes[:1] * 3
    return np.stack([*colors, _alpha(pixels)], axis=-1)


def paint_values(pixels: Pixels, ends: Range) -> Picture:
    """Return the first channel in the colors of `RAMP`."""
    marks = np.linspace(0, 255, len(RAMP))
    table = np.stack([np.interp(np.arange(256), marks, part) for part in np.transpose(RAMP)], axis=-1)
    colors = table.round().astype(np.uint8)[to_gray(pixels.values[0], *ends)]
    return np.concatenate([colors, _alpha(pixels)[..., None]], axis=-1)


def color_table(classes: ClassTable, size: int, nodata: int, hidden: Collection[int]) -> Picture:
    """Return the color of each value of a mask, `(size, 4)`; of nodata and hidden classes it is transparent."""
    table = np.full((size, 4), (*UNKNOWN, 255), np.uint8)
    for entry in classes:
        table[entry.value, :3] = entry.color
    table[[nodata, *(value for value in hidden if 0 <= value < size)], 3] = 0
    return table


def paint_labels(pixels: Pixels, table: Picture) -> Picture:
    """Return labels in the colors of a table."""
    painted: Picture = table[pixels.values[0]]
    if pixels.valid is not None:
        painted[~pixels.valid, 3] = 0
    return painted


def _alpha(pixels: Pixels) -> NDArray[np.uint8]:
    if pixels.valid is None:
        return np.full(pixels.values.shape[1:], 255, np.uint8)
    return np.where(pixels.valid, 255, 0).astype(np.uint8)
