"""Plots as SVG: axes, lines, dots, a legend and words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from pipeline.files.visible import visible

Point = tuple[float, float]
Tick = tuple[float, str]
LEFT, TOP, SIDE = 56, 28, 320
"""Pixels left of a plot, above it, and of its sides."""
INK, GRID = "#222", "#ddd"
FIFTHS: tuple[Tick, ...] = tuple((step / 5, f"{step / 5:g}") for step in range(6))
"""Ticks of an axis from 0 to 1."""


@dataclass(frozen=True)
class Plot:
    """A square of axes, by default from 0 to 1."""

    low: float = 0.0
    """Left end."""
    high: float = 1.0
    """Right end."""
    bottom: float = 0.0
    top: float = 1.0

    def at(self, point: Point) -> Point:
        """Return the place of a point in the picture."""
        across = (point[0] - self.low) / (self.high - self.low)
        up = (point[1] - self.bottom) / (self.top - self.bottom)
        return LEFT + SIDE * across, TOP + SIDE * (1 - up)

    def line(self, points: Iterable[Point], color: str, style: str = 'stroke-width="2"') -> str:
        """Return a line through points."""
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(self.at, points))
        return f'<polyline points="{places}" fill="none" stroke="{color}" {style}/>'

    def dots(self, points: Iterable[Point], color: str) -> str:
        """Return a dot at each point."""
        return "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>' for x, y in map(self.at, points))

    def axes(self, ticks: Sequence[Tick], across: str, up: str, up_ticks: Sequence[Tick] = FIFTHS) -> list[str]:
        """Return the grid, with ticks and titles of both axes."""
        parts = []
        for value, name in up_ticks:
            y = self.at((self.low, value))[1]
            parts.append(f'<line x1="{LEFT}" x2="{LEFT + SIDE}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>')
            parts.append(words((LEFT - 6, y), name, "end"))
        parts += [words((self.at((value, 0))[0], TOP + SIDE + 14), name, "middle") for value, name in ticks]
        middle = TOP + SIDE / 2
        parts.append(words((LEFT + SIDE / 2, TOP + SIDE + 34), across, "middle"))
        turned = f'transform="translate(14,{middle:g}) rotate(-90)"'
        return [*parts, f'<text {turned} text-anchor="middle">{escape(visible(up))}</text>']


def legend(entries: Sequence[tuple[str, str]], left: float, top: float) -> list[str]:
    """Return a square in the color of each entry and its name, one below the other."""
    parts = []
    for number, (name, color) in enumerate(entries):
        y = top + 18 * number
        parts.append(f'<rect x="{left}" y="{y - 6}" width="14" height="12" fill="{color}"/>')
        parts.append(words((left + 20, y), name, "start"))
    return parts


def words(at: Point, text: str, anchor: str) -> str:
    """Return words that start, end or have their middle at a place, at half their height."""
    place = f'x="{at[0]:.1f}" y="{at[1]:.1f}" dy="0.35em" text-anchor="{anchor}"'
    return f"<text {place}>{escape(visible(text))}</text>"


def picture(title: str, parts: Sequence[str], width: float, height: float) -> str:
    """Return parts on white paper, as a document."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="sans-serif" font-size="12" fill="{INK}" role="img">'
    )
    paper = f'<rect width="{width:g}" height="{height:g}" fill="#fff"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>", paper, *parts, "</svg>", ""])
