"""Rows as a JSON document and as a Markdown table, with the bars."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from benchmarks.peers.compare import Row

FASTER, SHARE = 8.0, 0.1
"""The bars: times as fast as the slowest peer at least; share of the memory of any peer at most."""
MIB = 2**20


def document(own: Row, rows: list[Row], **conditions: Any) -> dict[str, Any]:  # noqa: ANN401
    """All figures, in seconds and bytes."""
    return {**conditions, "rows": [asdict(row) for row in (own, *rows)], "bars": bars(rows)}


def bars(rows: list[Row]) -> dict[str, dict[str, Any]]:
    """The slowest and the leanest peer against their bars; None where there is none."""
    faster = max((row.times for row in rows if row.times is not None), default=None)
    share = max((row.share for row in rows if row.share is not None), default=None)
    return {
        "times faster than the slowest": {
            "bar": FASTER,
            "measured": faster,
            "reached": faster is not None and faster >= FASTER,
        },
        "share of the memory of the leanest": {
            "bar": SHARE,
            "measured": share,
            "reached": share is not None and share <= SHARE,
        },
    }


def table(own: Row, rows: list[Row]) -> str:
    """A Markdown table of all rows, and a line for each bar."""
    head = [
        "| way | s | over the pipeline's | peak, MiB | the pipeline's over it | labels, % | mean IoU | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines = [_line(row) for row in (own, *rows)]
    below = [
        f"* {name}: {_number(found['measured'], 2) or 'not measured'} (bar {found['bar']:g}, "
        f"{'reached' if found['reached'] else 'not reached'})"
        for name, found in bars(rows).items()
    ]
    return "\n".join([*head, *lines, "", *below])


def _line(row: Row) -> str:
    peak = None if row.peak is None else row.peak / MIB
    percent = None if row.labels is None else 100 * row.labels
    figures = [(row.seconds, 1), (row.times, 2), (peak, 0), (row.share, 3), (percent, 3), (row.quality, 4)]
    cells = [row.name, *(_number(*figure) for figure in figures), row.why_not]
    return f"| {' | '.join(cells)} |"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
