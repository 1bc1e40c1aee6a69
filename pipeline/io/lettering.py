"""Words on pictures: captions, marks and legends. The only module that imports Pillow."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.files.visible import visible

Picture = NDArray[np.uint8]
"""`(rows, columns, 3)`."""
Color = tuple[int, int, int]
SIZE = 12
"""Pixels of words on a screen."""
HEIGHT = 16
"""Rows of a line of words of this size."""
_INK, _PAPER = (30, 30, 30), (255, 255, 255)
_SQUARE, _GAP = 10 / SIZE, 6 / SIZE
"""Side of a square of a legend, and the gap after it, in sizes of words."""


def height_of(size: float) -> int:
    """Return the rows of a line of words."""
    return round(size * HEIGHT / SIZE)


def line(width: int, left: str = "", middle: str = "", right: str = "", *, size: float = SIZE) -> Picture:
    """Return a line of words, `(height_of(size), width, 3)`; what does not fit is cut off."""
    height = height_of(size)
    image = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(image)
    for words, at, anchor in ((left, 2, "lm"), (middle, width // 2, "mm"), (right, width - 2, "rm")):
        draw.text((at, height // 2), visible(words), _INK, _font(size), anchor=anchor)
    return np.asarray(image)


def legend(entries: Iterable[tuple[str, Color]], width: int, *, size: float = SIZE) -> Picture:
    """Return a square of each color with its name, in as many lines of `width` as they need."""
    lines: list[list[tuple[str, Color]]] = [[]]
    at = 0
    for name, color in entries:
        needed = _needed(name, size)
        if lines[-1] and at + needed > width:
            lines.append([])
            at = 0
        lines[-1].append((visible(name), color))
        at += needed
    return np.concatenate([_legend_line(each, width, size) for each in lines])


def _needed(name: str, size: float) -> int:
    return round((_SQUARE + 3 * _GAP) * size) + round(_font(size).getlength(visible(name)))


def _legend_line(entries: list[tuple[str, Color]], width: int, size: float) -> Picture:
    height, square, gap = height_of(size), round(_SQUARE * size), round(_GAP * size)
    image = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(image)
    at, top = 2, (height - square) // 2
    for name, color in entries:
        draw.rectangle((at, top, at + square - 1, top + square - 1), color, (150, 150, 150))
        draw.text((at + square + gap, height // 2), name, _INK, _font(size), anchor="lm")
        at += _needed(name, size)
    return np.asarray(image)


@cache
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
