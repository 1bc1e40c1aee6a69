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
HEIGHT = 16
"""Rows of a line of words."""
_INK, _PAPER = (30, 30, 30), (255, 255, 255)
_SIZE, _SQUARE, _GAP = 12, 10, 6


def line(width: int, left: str = "", middle: str = "", right: str = "") -> Picture:
    """Return a line of words, `(HEIGHT, width, 3)`; what does not fit is cut off."""
    image = Image.new("RGB", (width, HEIGHT), _PAPER)
    draw = ImageDraw.Draw(image)
    for words, at, anchor in ((left, 2, "lm"), (middle, width // 2, "mm"), (right, width - 2, "rm")):
        draw.text((at, HEIGHT // 2), visible(words), _INK, _font(), anchor=anchor)
    return np.asarray(image)


def legend(entries: Iterable[tuple[str, Color]], width: int) -> Picture:
    """Return a square of each color with its name, in as many lines of `width` as they need."""
    lines: list[list[tuple[str, Color]]] = [[]]
    at = 0
    for name, color in entries:
        needed = _SQUARE + 3 * _GAP + round(_font().getlength(visible(name)))
        if lines[-1] and at + needed > width:
            lines.append([])
            at = 0
        lines[-1].append((visible(name), color))
        at += needed
    return np.concatenate([_legend_line(each, width) for each in lines])


def _legend_line(entries: list[tuple[str, Color]], width: int) -> Picture:
    image = Image.new("RGB", (width, HEIGHT), _PAPER)
    draw = ImageDraw.Draw(image)
    at, top = 2, (HEIGHT - _SQUARE) // 2
    for name, color in entries:
        draw.rectangle((at, top, at + _SQUARE - 1, top + _SQUARE - 1), color, (150, 150, 150))
        draw.text((at + _SQUARE + _GAP, HEIGHT // 2), name, _INK, _font(), anchor="lm")
        at += _SQUARE + 3 * _GAP + round(_font().getlength(name))
    return np.asarray(image)


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_SIZE)
