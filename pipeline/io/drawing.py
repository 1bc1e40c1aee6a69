"""Shapes and words under a picture, placed once: painted, or as SVG. With Pillow.

Positions and sizes are pixels from the upper left.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from io import BytesIO
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.classes import hex_color
from pipeline.files.visible import visible

Picture = NDArray[np.uint8]
"""`(rows, columns, 3)`, or 4 with alpha."""
Color = tuple[int, int, int]
PRINT_INCHES, POINTS = 180 / 25.4, 8
"""Longer side of a print, and size of its words."""
INK, PAPER, EDGE = (30, 30, 30), (255, 255, 255), (150, 150, 150)
_ANCHORS = {"start": "lm", "middle": "mm", "end": "rm"}


@dataclass(frozen=True)
class Rectangle:
    """A filled rectangle with a thin line around it."""

    left: float
    top: float
    width: float
    height: float
    color: Color
    edge: Color = EDGE


@dataclass(frozen=True)
class Polygon:
    """A filled polygon."""

    corners: tuple[tuple[float, float], ...]
    color: Color = INK


@dataclass(frozen=True)
class Words:
    """A line of words; `at` is its start, middle or end, at half its height."""

    at: tuple[float, float]
    text: str
    size: float
    anchor: Literal["start", "middle", "end"] = "start"


Shape = Rectangle | Polygon | Words


def width_of(text: str, size: float) -> float:
    """Return the width of words in pixels."""
    return float(_font(size).getlength(visible(text)))


def fitting(text: str, size: float, width: float) -> str:
    """Return words, cut off where they do not fit."""
    if width_of(text, size) <= width:
        return text
    while text and width_of(f"{text}\u2026", size) > width:
        text = text[:-1]
    return f"{text}\u2026"


def legend_of(entries: Iterable[tuple[str, Color]], size: float, width: float, top: float) -> tuple[list[Shape], float]:
    """Return a square and a name for each color, in as many lines as they need, and where they end."""
    shapes: list[Shape] = []
    x, y = size / 2, top
    for name, color in entries:
        needed = 2.4 * size + width_of(name, size)
        if x > size and x + needed > width:
            x, y = size / 2, y + 1.5 * size
        shapes += [
            Rectangle(x, y, size, size, color),
            Words((x + 1.4 * size, y + size / 2), fitting(name, size, width - 2.4 * size), size),
        ]
        x += needed
    return shapes, y + (1.5 * size if shapes else 0)


def paint(shapes: Iterable[Shape], height: int, width: int) -> Picture:
    """Return shapes on white."""
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    for shape in shapes:
        match shape:
            case Rectangle(left, top, across, down, color, edge):
                draw.rectangle((left, top, left + max(across, 1) - 1, top + max(down, 1) - 1), color, edge)
            case Polygon(corners, color):
                draw.polygon(list(corners), color)
            case Words(at, text, size, anchor):
                draw.text(at, visible(text), INK, _font(size), anchor=_ANCHORS[anchor])
    return np.asarray(image)


def svg_of(picture: Picture, below: Sequence[Shape], height: int, width: int, title: str) -> str:
    """Return a picture at the upper left, with shapes below it, as SVG: the picture inside as PNG, words as text."""
    rows, columns = picture.shape[:2]
    inside = b64encode(png_of(picture)).decode("ascii")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif">',
        f"<title>{_text(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<image width="{columns}" height="{rows}" href="data:image/png;base64,{inside}"/>',
        f'<g transform="translate(0,{rows})">',
        *map(_element, below),
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def png_of(picture: Picture, *, dpi: int | None = None, level: int = 6) -> bytes:
    """Return a picture as PNG; `dpi` says how large it is in print, `level`, from 1 to 9, how well it is packed."""
    written = BytesIO()
    printed = {} if dpi is None else {"dpi": (dpi, dpi)}
    Image.fromarray(picture).save(written, "PNG", compress_level=level, **printed)
    return written.getvalue()


def _element(shape: Shape) -> str:
    match shape:
        case Rectangle(left, top, width, height, color, edge):
            box = f'x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"'
            return f'<rect {box} fill="{hex_color(color)}" stroke="{hex_color(edge)}"/>'
        case Polygon(corners, color):
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
            return f'<polygon points="{points}" fill="{hex_color(color)}"/>'
        case Words((x, y), text, size, anchor):
            place = f'x="{x:.1f}" y="{y:.1f}" dy="0.35em" font-size="{size:g}" text-anchor="{anchor}"'
            return f'<text {place} fill="{hex_color(INK)}">{_text(text)}</text>'


def _text(words: str) -> str:
    return escape(visible(words))


@cache
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
