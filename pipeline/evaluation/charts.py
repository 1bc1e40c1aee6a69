"""Charts of what an evaluation recorded, as SVG: how far probabilities hold, and figures by the size of pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import log2
from typing import Any

from pipeline.classes import hex_color
from pipeline.files.visible import visible
from pipeline.io.plots import FIFTHS, INK, LEFT, SIDE, TOP, Plot, legend, picture

Record = Mapping[str, Any]
_BELOW, _BEFORE, _NOW = 70, "#999", "#0b5cad"


def reliability_svg(found: Record) -> str:
    """Return the reliability diagram of a recorded calibration: accuracy by confidence, and the share of cells in bars.

    A model whose probabilities hold follows the diagonal.
    """
    plot, before = Plot(), found.get("before")
    cells = [count for count, _, _ in found["bins"]]
    parts = [
        *_shares(plot, cells),
        *plot.axes(FIFTHS, "confidence", "accuracy"),
        plot.line([(0, 0), (1, 1)], INK, 'stroke-dasharray="4 4"'),
        *([] if before is None else _curve(plot, before["bins"], _BEFORE)),
        *_curve(plot, found["bins"], _NOW),
    ]
    told = [(f"calibration error {_figure(found['ece'])}{_temperature(found)}", _NOW)]
    if before is not None:
        told.append((f"without temperature: {_figure(before['ece'])}", _BEFORE))
    parts += legend([*told, ("share of the cells", "#cfdbe8")], LEFT, TOP + SIDE + 52)
    return picture("Reliability diagram", parts, LEFT + SIDE + 20, TOP + SIDE + _BELOW + 18 * (len(told) - 1) + 16)


def resolution_svg(found: Sequence[Record], colors: Mapping[str, tuple[int, int, int]]) -> str:
    """Return IoU by the size of pixels, of each class in its color and their mean in black.

    Args:
        found: What is recorded of each size, see `AtResolution`.
        colors: Color of each class, by name.

    """
    rows = sorted(found, key=lambda one: float(one["factor"]))
    sides = [log2(one["factor"]) for one in rows]
    room = 0.5 if len(rows) == 1 else 0.0
    plot = Plot(min(sides) - room, max(sides) + room)
    ticks = [(side, _size_of(one)) for side, one in zip(sides, rows, strict=True)]
    across = "pixel on the ground, m" if all(one["ground"] for one in rows) else "pixel, as a multiple of its own size"
    parts, told = plot.axes(ticks, across, "IoU"), []
    for name in rows[0]["classes"]:
        points = [(side, one["classes"][name]["iou"][0]) for side, one in zip(sides, rows, strict=True)]
        color = hex_color(colors.get(name, (120, 120, 120)))
        told.append((name, color))
        parts += _known(plot, points, color)
    means = [(side, one["figures"]["mean_iou"][0]) for side, one in zip(sides, rows, strict=True)]
    parts += [*_known(plot, means, "#000"), *legend([*told, ("mean", "#000")], LEFT + SIDE + 24, TOP + 10)]
    longest = max(len(visible(name)) for name, _ in [*told, ("mean", "")])
    return picture("IoU by pixel size", parts, LEFT + SIDE + 60 + 7 * longest, TOP + SIDE + 48)


def _shares(plot: Plot, cells: Sequence[int]) -> list[str]:
    whole, width = max(1, sum(cells)), SIDE / len(cells)
    tops = [plot.at((number / len(cells), count / whole)) for number, count in enumerate(cells)]
    return [
        f'<rect x="{x + 1:.1f}" y="{y:.1f}" width="{width - 2:.1f}" height="{TOP + SIDE - y:.1f}" fill="#cfdbe8"/>'
        for x, y in tops
    ]


def _curve(plot: Plot, bins: Sequence[Sequence[float | None]], color: str) -> list[str]:
    return _known(plot, [(sure, right) for cells, sure, right in bins if cells], color)


def _known(plot: Plot, points: Iterable[tuple[float | None, float | None]], color: str) -> list[str]:
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
