"""Charts of what an evaluation recorded, as SVG: how far probabilities hold, and figures by the size of pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import log2
from typing import Any

from pipeline.classes import hex_color
from pipeline.files.visible import visible

Point = tuple[float, float]
Record = Mapping[str, Any]
_LEFT, _TOP, _SIDE, _BELOW = 56, 28, 320, 70
_INK, _GRID, _BEFORE, _NOW = "#222", "#ddd", "#999", "#0b5cad"


@dataclass(frozen=True)
class _Plot:
    """A square of axes from 0 to 1 up, and from `low` to `high` across."""

    low: float = 0.0
    high: float = 1.0

    def at(self, point: Point) -> Point:
        """Return the place of a point in the picture."""
        across = (point[0] - self.low) / (self.high - self.low)
        return _LEFT + _SIDE * across, _TOP + _SIDE * (1 - point[1])

    def line(self, points: Iterable[Point], color: str, style: str = 'stroke-width="2"') -> str:
        """Return a line through points."""
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(self.at, points))
        return f'<polyline points="{places}" fill="none" stroke="{color}" {style}/>'

    def dots(self, points: Iterable[Point], color: str) -> str:
        """Return a dot at each point."""
        return "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>' for x, y in map(self.at, points))

    def axes(self, ticks: Sequence[tuple[float, str]], across: str, up: str) -> list[str]:
        """Return the grid, with ticks across and tenths up."""
        parts = []
        for step in range(0, 11, 2):
            y = self.at((0, step / 10))[1]
            parts.append(f'<line x1="{_LEFT}" x2="{_LEFT + _SIDE}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_GRID}"/>')
            parts.append(_text((_LEFT - 6, y), f"{step / 10:g}", "end"))
        parts += [_text((self.at((value, 0))[0], _TOP + _SIDE + 14), name, "middle") for value, name in ticks]
        middle = _TOP + _SIDE / 2
        parts.append(_text((_LEFT + _SIDE / 2, _TOP + _SIDE + 34), across, "middle"))
        turned = f'transform="translate(14,{middle:g}) rotate(-90)"'
        return [*parts, f'<text {turned} text-anchor="middle">{escape(visible(up))}</text>']


def reliability_svg(found: Record) -> str:
    """Return the reliability diagram of a recorded calibration: accuracy by confidence, and the share of cells in bars.

    A model whose probabilities hold follows the diagonal.
    """
    plot, before = _Plot(), found.get("before")
    ticks = [(step / 10, f"{step / 10:g}") for step in range(0, 11, 2)]
    cells = [count for count, _, _ in found["bins"]]
    parts = [
        *_shares(plot, cells),
        *plot.axes(ticks, "confidence", "accuracy"),
        plot.line([(0, 0), (1, 1)], _INK, 'stroke-dasharray="4 4"'),
        *([] if before is None else _curve(plot, before["bins"], _BEFORE)),
        *_curve(plot, found["bins"], _NOW),
    ]
    told = [(f"calibration error {_figure(found['ece'])}{_temperature(found)}", _NOW)]
    if before is not None:
        told.append((f"without temperature: {_figure(before['ece'])}", _BEFORE))
    parts += _legend([*told, ("share of the cells", "#cfdbe8")], _LEFT, _TOP + _SIDE + 52)
    return _picture("Reliability diagram", parts, _LEFT + _SIDE + 20, _TOP + _SIDE + _BELOW + 18 * (len(told) - 1) + 16)


def resolution_svg(found: Sequence[Record], colors: Mapping[str, tuple[int, int, int]]) -> str:
    """Return IoU by the size of pixels, of each class in its color and their mean in black.

    Args:
        found: What is recorded of each size, see `AtResolution`.
        colors: Color of each class, by name.

    """
    rows = sorted(found, key=lambda one: float(one["factor"]))
    sides = [log2(one["factor"]) for one in rows]
    room = 0.5 if len(rows) == 1 else 0.0
    plot = _Plot(min(sides) - room, max(sides) + room)
    ticks = [(side, _size_of(one)) for side, one in zip(sides, rows, strict=True)]
    across = "pixel on the ground, m" if all(one["ground"] for one in rows) else "pixel, as a multiple of its own size"
    parts, told = plot.axes(ticks, across, "IoU"), []
    for name in rows[0]["classes"]:
        points = [(side, one["classes"][name]["iou"][0]) for side, one in zip(sides, rows, strict=True)]
        color = hex_color(colors.get(name, (120, 120, 120)))
        told.append((name, color))
        parts += _known(plot, points, color)
    means = [(side, one["figures"]["mean_iou"][0]) for side, one in zip(sides, rows, strict=True)]
    parts += [*_known(plot, means, "#000"), *_legend([*told, ("mean", "#000")], _LEFT + _SIDE + 24, _TOP + 10)]
    longest = max(len(visible(name)) for name, _ in [*told, ("mean", "")])
    return _picture("IoU by pixel size", parts, _LEFT + _SIDE + 60 + 7 * longest, _TOP + _SIDE + 48)


def _shares(plot: _Plot, cells: Sequence[int]) -> list[str]:
    whole, width = max(1, sum(cells)), _SIDE / len(cells)
    tops = [plot.at((number / len(cells), count / whole)) for number, count in enumerate(cells)]
    return [
        f'<rect x="{x + 1:.1f}" y="{y:.1f}" width="{width - 2:.1f}" height="{_TOP + _SIDE - y:.1f}" fill="#cfdbe8"/>'
        for x, y in tops
    ]


def _curve(plot: _Plot, bins: Sequence[Sequence[float | None]], color: str) -> list[str]:
    return _known(plot, [(sure, right) for cells, sure, right in bins if cells], color)


def _known(plot: _Plot, points: Iterable[tuple[float | None, float | None]], color: str) -> list[str]:
    """Return the line and the dots of the points that are defined."""
    there = [(x, y) for x, y in points if x is not None and y is not None]
    return [plot.line(there, color), plot.dots(there, color)]


def _size_of(one: Record) -> str:
    if not one["ground"]:
        return f"{one['factor']:g}"
    return "-".join(dict.fromkeys(f"{side:.2g}" for side in one["ground"]))


def _temperature(found: Record) -> str:
    return "" if found["temperature"] == 1 else f" at temperature {found['temperature']:g}"


def _figure(triple: Sequence[float | None]) -> str:
    return "unknown" if triple[0] is None else f"{triple[0]:.3f}"


def _legend(entries: Sequence[tuple[str, str]], left: float, top: float) -> list[str]:
    parts = []
    for number, (name, color) in enumerate(entries):
        y = top + 18 * number
        parts.append(f'<rect x="{left}" y="{y - 6}" width="14" height="12" fill="{color}"/>')
        parts.append(_text((left + 20, y), name, "start"))
    return parts


def _text(at: Point, words: str, anchor: str) -> str:
    place = f'x="{at[0]:.1f}" y="{at[1]:.1f}" dy="0.35em" text-anchor="{anchor}"'
    return f"<text {place}>{escape(visible(words))}</text>"


def _picture(title: str, parts: Sequence[str], width: float, height: float) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="sans-serif" font-size="12" fill="{_INK}" role="img">'
    )
    paper = f'<rect width="{width:g}" height="{height:g}" fill="#fff"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>", paper, *parts, "</svg>", ""])
