"""Print the figures of an evaluation."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from pipeline.cli.tables import ONE_SIDED, TextTable, print_json, print_table, table_of, titles_of
from pipeline.errors import counted
from pipeline.evaluation.result import ranked

if TYPE_CHECKING:
    from pipeline.evaluation.result import Calibration, Estimate, Evaluation, Overall
    from pipeline.runs.report import Report

_WORST = 10
"""Items of an evaluation that are listed."""


def print_evaluation(evaluation: Evaluation | None, failed: Sequence[Report], *, as_json: bool) -> None:
    """Print figures by class and of the worst items, or `{"items": [...], "overall": {...}, "failed": [...]}`."""
    if as_json:
        told = {"items": [], "overall": None} if evaluation is None else evaluation.to_json()
        print_json({**told, "failed": [asdict(report) for report in failed]})
    elif evaluation is not None:
        overall = evaluation.overall
        shown = titles_of(overall.kind)
        print_table(_class_table(overall, shown))
        sys.stdout.write(_summary(overall) + "\n")
        if overall.calibration is not None:
            sys.stdout.write(_calibration(overall.calibration) + "\n")
        if overall.resolutions is not None:
            print_table(_resolution_table(overall))
        if len(evaluation.items) > 1:
            print_table(_item_table(evaluation, shown))


def _class_table(overall: Overall, shown: Mapping[str, str]) -> TextTable:
    """Return a table of the classes, then the means; with intervals if there are any."""
    table = table_of("class", "items", ONE_SIDED, *shown.values())
    for entry in overall.classes:
        counts = (str(entry.items), str(entry.one_sided)) if entry.items else ("absent", "")
        table.add_row(f"{entry.value} {entry.name}", *counts, *(_estimate(entry.figures[name]) for name in shown))
    table.add_row("mean", "", "", *(_estimate(overall.figures[f"mean_{name}"]) for name in shown))
    return table


def _item_table(evaluation: Evaluation, shown: Mapping[str, str]) -> TextTable:
    """Return a table of the worst items, worst first, with means over their classes."""
    table = table_of("worst items", "accuracy", *shown.values())
    for item in ranked(evaluation)[: -_WORST - 1 : -1]:
        figures = (item.figures[name] for name in ("accuracy", *(f"mean_{name}" for name in shown)))
        table.add_row(item.prediction or item.image or item.truth, *map(_figure, figures))
    return table


def _summary(overall: Overall) -> str:
    left_out = 1 - overall.counted / overall.cells
    parts = [
        counted(overall.items, "item"),
        f"{overall.cells / 1e6:.1f} Mpx",
        f"{left_out:.1%} ignored or nodata",
        f"{overall.missed / max(overall.counted, 1):.1%} not predicted",
        f"accuracy {_estimate(overall.figures['accuracy'])}",
    ]
    if overall.megapixels_per_second is not None:
        parts.append(f"segmented in {overall.seconds:.1f} s, {overall.megapixels_per_second:.2f} Mpx/s")
    return ", ".join(parts)


def _resolution_table(overall: Overall) -> TextTable:
    """Return a table of IoU by the size of pixels."""
    table = table_of("pixels", "m", *(entry.name for entry in overall.classes), "mean")
    for one in overall.resolutions or ():
        ground = "" if one.ground is None else " to ".join(dict.fromkeys(f"{side:.3g}" for side in one.ground))
        figures = (*(one.classes[entry.name] for entry in overall.classes), one.figures["mean_iou"])
        table.add_row(f"x {one.factor:g}", ground, *(_figure(each.value) for each in figures))
    return table


def _calibration(found: Calibration) -> str:
    line = f"expected calibration error {_estimate(found.now.ece)}"
    if found.before is None:
        return line
    return f"{line} at temperature {found.temperature:g}, {_estimate(found.before.ece)} without"


def _estimate(estimate: Estimate) -> str:
    around = "" if estimate.low is None else f" ({_figure(estimate.low)} to {_figure(estimate.high)})"
    return _figure(estimate.value) + around


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
