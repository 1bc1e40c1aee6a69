"""Print results on stdout: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.classes import hex_color
from pipeline.decoding import encode
from pipeline.errors import counted, duration_text
from pipeline.evaluation.result import ranked
from pipeline.files.visible import visible, visible_lines

if TYPE_CHECKING:
    from pipeline.archive.review import ReviewStatus
    from pipeline.archive.status import Status
    from pipeline.archive.verify import Verdict
    from pipeline.evaluation.result import Calibration, Estimate, Evaluation, Overall
    from pipeline.masks.areas import Area
    from pipeline.masks.check import Difference
    from pipeline.masks.structures import Structure
    from pipeline.models.card import Card
    from pipeline.models.hub.listing import HubModel
    from pipeline.reports.values import Facts
    from pipeline.runs.report import Report


_WHOLE = 1000
"""Columns of a line that is not for a screen."""

_WORST = 10
"""Items of an evaluation that are listed."""

_OF_SCENES = {
    "iou": "IoU",
    "dice": "Dice",
    "precision": "precision",
    "recall": "recall",
    "boundary_f1": "boundary F1",
}

_OF_VOLUMES = {
    "case_dice": "Dice",
    "hd95_mm": "HD95 mm",
    "assd_mm": "ASSD mm",
    "maximum_distance_mm": "maximum mm",
    "surface_dice": "surface Dice",
    "volume_error": "volume error",
    "iou": "IoU",
}
"""By kind: the figures of an evaluation that are shown, and their titles."""

_SUFFIXES = 8
"""Suffixes of a format that are listed."""
_ONE_SIDED = "of these in one only"

_COUNTS = {
    "patches",
    "memory",
    "disk",
    "options",
    "time",
    "cost",
    "cells",
    "area",
    "area, square meters",
    "area, pixels",
    "share",
    "Mpx",
    "s",
    "Mpx/s",
    "items",
    _ONE_SIDED,
}

_NUMBERS = {"accuracy", *_COUNTS, *_OF_SCENES.values(), *_OF_VOLUMES.values()}
"""Columns aligned to the right."""


def print_models(cards: Sequence[Card], *, as_json: bool) -> None:
    """Print cards as one table, or `{"items": [...]}`."""
    if as_json:
        print_json({"items": [card.to_words() for card in cards]})
        return
    table = table_of("model", "for", "channels", "patch", "classes", "license")
    for card in cards:
        classes = ", ".join(f"{value} {entry.name}" for value, entry in enumerate(card.classes))
        table.add_row(card.name, card.kind + "s", ", ".join(card.channels), _patch(card), classes, card.license)
    print_table(table)


def print_hub_models(found: Sequence[HubModel], *, as_json: bool) -> None:
    """Print models on a hub as one table, or `{"items": [...]}`."""
    if as_json:
        print_json({"items": [asdict(one) for one in found]})
        return
    table = table_of("model", "for", "license", "downloads", "changed", "commit")
    for one in found:
        private = " (private)" if one.private else ""
        kind = one.kind and one.kind + "s"
        table.add_row(one.model + private, kind, one.license, f"{one.downloads:,}", one.changed, one.commit)
    print_table(table)


def print_cards(cards: Sequence[Card], *, as_json: bool) -> None:
    """Print cards one by one with their figures, or `{"items": [...]}`."""
    if as_json:
        print_models(cards, as_json=True)
        return
    from pipeline.reports.model import recipe_of, trained_on

    for card in cards:
        classes = [{"value": value, **encode(entry)} for value, entry in enumerate(card.classes)]
        figures = "\n".join(_figure_lines(name, found, card.kind) for name, found in card.evaluation.items())
        record = {
            "model": card.name,
            "for": card.kind + "s",
            "license": card.license,
            "credits": card.credits,
            "channels": card.channels,
            "patch": _patch(card),
            "features": card.features,
            "views": card.views,
            "temperature": card.temperature,
            "network": card.network.title,
            "classes": classes,
            "figures": figures,
            "limits": card.limits,
            "trained on": _fact_lines(trained_on(card)),
            "training": _fact_lines(recipe_of(card)),
        }
        print_records([{key: value for key, value in record.items() if value}], as_json=False)


def _patch(card: Card) -> str:
    unit = "mm" if card.kind == "volume" else "m"
    return " x ".join(map(str, card.patch)) + (f" at {card.spacing[0]:g} {unit}" if card.spacing else "")


def _figure_lines(name: str, found: object, kind: str) -> str:
    """Return figures that `evaluate --record` wrote, one line per class; others as they are."""
    if not isinstance(found, Mapping) or not isinstance(found.get("classes"), Mapping):
        return _flat_lines({name: found})
    from pipeline.reports.model import by_pixel_size, measured

    shown = _OF_VOLUMES if kind == "volume" else _OF_SCENES
    rows = {**found["classes"], "mean": {key.removeprefix("mean_"): value for key, value in found["figures"].items()}}
    lines = [f"{name}, {counted(found['items'], 'item')}:"]
    for row, values in rows.items():
        told = [f"{title} {_triple(values[key])}" for key, title in shown.items() if _known(values, key)]
        lines += [f"  {row}: {', '.join(told)}"] if told else []
    more = _fact_lines((*measured(found), *by_pixel_size(found)))
    return "\n".join([*lines, *(f"  {line}" for line in more.splitlines())])


def _fact_lines(facts: Facts) -> str:
    return "\n".join(f"{visible(title)}: {visible(text)}" for title, text in facts)


def _known(values: Mapping[str, Any], key: str) -> bool:
    return values.get(key, [None])[0] is not None


def _triple(figure: Sequence[float | None]) -> str:
    value, low, high = figure
    return f"{value:.3f}" + ("" if low is None else f" ({low:.3f} to {high:.3f})")


def print_areas(areas: Sequence[Area], *, as_json: bool) -> None:
    """Print a line for each class of each zone, or `{"items": [...]}`."""
    if as_json:
        print_json({"items": [asdict(area) for area in areas]})
        return
    table = table_of("zone", "class", "cells", f"area, {areas[0].unit}" if areas else "area", "share")
    for area in areas:
        figures = (f"{area.cells:,}", f"{area.area:,.1f}", f"{area.share:.2%}")
        table.add_row(area.zone, f"{area.value} {area.name}", *figures)
    print_table(table)


def print_structures(found: Sequence[Structure], *, as_json: bool) -> None:
    """Print a line for each structure, or `{"items": [...]}`."""
    if as_json:
        print_json({"items": [asdict(structure) for structure in found]})
        return
    table = table_of("structure", "voxels", "ml", "mean", "median", "")
    for row in found:
        intensities = ("" if number is None else f"{number:.6g}" for number in (row.mean, row.median))
        cut = "touches the border" if row.touches_border else ""
        table.add_row(f"{row.value} {row.name}", f"{row.voxels:,}", f"{row.ml:,.3f}", *intensities, cut)
    print_table(table)


def print_differences(
    mask: str, like: str, found: Sequence[Difference], tolerance: float = 0.0, *, as_json: bool
) -> None:
    """Print whether a mask is on the grid of an input, with a line for each difference; or one object."""
    if as_json:
        print_json({"mask": mask, "like": like, "same": not found, "differences": [asdict(one) for one in found]})
        return
    to = f", to {tolerance:g} cells" if tolerance else ""
    line = f"{mask}: {'is not' if found else 'is' if to else 'is exactly'} on the grid of {like}{to}"
    sys.stdout.write(f"{visible(line)}\n")
    for one in found:
        apart = "" if one.apart is None else f"; {one.apart:.4g} apart at the farthest corner"
        sys.stdout.write(visible(f"  {one.what}: {one.mask} in the mask, {one.input} in the input{apart}") + "\n")


def print_verdicts(found: Sequence[Verdict], *, as_json: bool) -> None:
    """Print what is wrong with masks, and how many are as they were; or `{"items": [...]}`."""
    if as_json:
        print_json({"items": [asdict(verdict) for verdict in found]})
        return
    for verdict in found:
        if verdict.state != "intact":
            sys.stdout.write(f"{visible(verdict.reason)}\n")
    counts = Counter(verdict.state for verdict in found)
    listed = ", ".join(f"{count} {state}" for state, count in counts.items())
    sys.stdout.write(f"{counted(len(found), 'file')}: {listed or 'nothing to verify'}\n")


def print_status(status: Status, review: ReviewStatus | None = None, *, as_json: bool) -> None:
    """Print items by state, reasons by kind, throughput, and how far a review has come; or one object."""
    if as_json:
        print_json({**asdict(status), **({} if review is None else {"review": asdict(review)})})
        return
    table = table_of("state", "items")
    for state, items in status.states.items():
        if items:
            table.add_row(state, str(items))
    print_table(table)
    if status.reasons:
        table = table_of("reason", "state", "items", "for example")
        for reason in status.reasons:
            table.add_row(reason.code, reason.state, str(reason.items), reason.example)
        print_table(table)
    sys.stdout.write(_pace(status) + "\n")
    if review is not None:
        _print_review(review)


def _print_review(review: ReviewStatus) -> None:
    sys.stdout.write(f"reviewed: {review.passed} pass, {review.failed} fail, {review.unseen} not seen\n")
    if review.to_redo:
        table = table_of("failed the review", "comment")
        for one in review.to_redo:
            table.add_row(one.input, one.comment)
        print_table(table)


def _pace(status: Status) -> str:
    if status.megapixels_per_second is None or status.items_per_hour is None:
        return "nothing is done yet"
    rates = f"{status.megapixels_per_second:.2f} Mpx/s, {status.items_per_hour:.0f} items/h"
    left = f", {duration_text(status.seconds_left)} left" if status.seconds_left else ""
    return f"{status.megapixels:.1f} Mpx done, {rates}{left}"


def print_evaluation(evaluation: Evaluation | None, failed: Sequence[Report], *, as_json: bool) -> None:
    """Print figures by class and of the worst items, or `{"items": [...], "overall": {...}, "failed": [...]}`."""
    if as_json:
        told = {"items": [], "overall": None} if evaluation is None else evaluation.to_json()
        print_json({**told, "failed": [asdict(report) for report in failed]})
    elif evaluation is not None:
        overall = evaluation.overall
        shown = _OF_VOLUMES if overall.kind == "volume" else _OF_SCENES
        print_table(_class_table(overall, shown))
        sys.stdout.write(_summary(overall) + "\n")
        if overall.calibration is not None:
            sys.stdout.write(_calibration(overall.calibration) + "\n")
        if overall.resolutions is not None:
            print_table(_resolution_table(overall))
        if len(evaluation.items) > 1:
            print_table(_item_table(evaluation, shown))


def print_schema(schema: Mapping[str, Any]) -> None:
    """Print the verbs, models and formats of a schema as tables."""
    verbs = table_of("verb", "options", "what it does")
    for one in schema["verbs"]:
        verbs.add_row(one["name"], str(len(one["options"])), one["help"].partition("\n")[0])
    models = table_of("model", "for", "classes")
    for one in schema["models"]:
        models.add_row(one["name"], one["kind"] + "s", ", ".join(entry["name"] for entry in one["classes"]))
    formats = table_of("format", "read", "masks")
    for one in schema["formats"]:
        formats.add_row(one["name"], _suffixes(one), " ".join(one["written"]))
    for table in (verbs, models, formats):
        print_table(table)


def _suffixes(one: Mapping[str, Any]) -> str:
    """Return what is read of a format: its folders, and the first of its suffixes."""
    read, folders = one["read"], ["folder", "zip"] if one["folders"] else []
    more = f"and {len(read) - _SUFFIXES} more" if len(read) > _SUFFIXES else ""
    return " ".join([*folders, *read[:_SUFFIXES], *filter(None, [more])])


def print_records(records: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print records as tables of two columns, or `{"items": [...]}`."""
    if as_json:
        print_json({"items": records})
        return
    for record in records:
        table = table_of("", "")
        table.show_header = False
        for key, value in record.items():
            table.add_row(key.replace("_", " "), Text(_WORDS.get(key, _plain)(value)))
        print_table(table)


def _class_table(overall: Overall, shown: Mapping[str, str]) -> Table:
    """Return a table of the classes, then the means; with intervals if there are any."""
    table = table_of("class", "items", _ONE_SIDED, *shown.values())
    for entry in overall.classes:
        counts = (str(entry.items), str(entry.one_sided)) if entry.items else ("absent", "")
        table.add_row(f"{entry.value} {entry.name}", *counts, *(_estimate(entry.figures[name]) for name in shown))
    table.add_row("mean", "", "", *(_estimate(overall.figures[f"mean_{name}"]) for name in shown))
    return table


def _item_table(evaluation: Evaluation, shown: Mapping[str, str]) -> Table:
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


def _resolution_table(overall: Overall) -> Table:
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


class _Table(Table):
    """A table whose cells are shown as they are: nothing in them is markup, or obeyed by a screen."""

    def add_row(self, *cells: RenderableType | None, **how: Any) -> None:  # noqa: ANN401  (rich's)
        """Add a row; a cell of several lines is a `Text`."""
        super().add_row(*(Text(visible(cell)) if isinstance(cell, str) else cell for cell in cells), **how)


def table_of(*columns: str) -> Table:
    """Return an empty table with these columns; numbers are aligned to the right."""
    table = _Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in _NUMBERS else "left")
    return table


def print_table(table: Table) -> None:
    """Print a table on stdout: folded to a terminal; for a program, lines are left whole and end with their text."""
    if sys.stdout.isatty():
        Console(highlight=False).print(table)
        return
    console = Console(highlight=False, width=_WHOLE)
    with console.capture() as captured:
        console.print(table)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def fits(table: Table) -> bool:
    """Return whether a table is printed without folding its cells."""
    return not sys.stdout.isatty() or Console(width=_WHOLE).measure(table).maximum <= Console().width


def shared_folder(paths: Sequence[str]) -> str:
    """Return the folder that all paths share, with the slash at its end; empty: there is none.

    >>> shared_folder(["a/b/1.tif", "a/c/2.tif"]), shared_folder(["a/1", "/a/2"]), shared_folder(["s3://x/a", "s3://x/b"])
    ('a/', '', 's3://x/')
    """
    parts = zip(*(text.split("/")[:-1] for text in paths), strict=False)
    shared = [same[0] for same in takewhile(lambda same: len(set(same)) == 1, parts)]
    return "".join(f"{part}/" for part in shared) if any(shared) else ""


def print_json(value: object) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def _plain(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return (", " if any(isinstance(part, str) for part in value) else " x ").join(map(visible, value))
    return "" if value is None else visible(value)


def _classes(rows: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(f"{row['value']} {visible(row['name'])} {hex_color(row['colour'])}" for row in rows)


def _lines(texts: Sequence[str]) -> str:
    return "\n".join(map(visible, texts))


def _warnings(remarks: Sequence[Mapping[str, str]]) -> str:
    return _lines([f"{remark['message']} ({remark['rule']})" for remark in remarks])


def _affine(rows: Sequence[Sequence[float]]) -> str:
    words = [[f"{value:.10g}" for value in row] for row in rows]
    width = max(len(word) for row in words for word in row)
    return "\n".join("  ".join(word.rjust(width) for word in row) for row in words)


def _flat_lines(record: Mapping[str, Any]) -> str:
    from pipeline.engine.ledger import flat

    return "\n".join(
        f"{visible(key)}: {_plain(value)}" for key, value in flat(record).items() if value not in (None, [], ())
    )


def _crs(wkt: str | None) -> str:
    """Return the first name in WKT."""
    return visible(wkt.split('"')[1]) if wkt and '"' in wkt else _plain(wkt)


_WORDS: dict[str, Callable[[Any], str]] = {
    "classes": _classes,
    "affine": _affine,
    "made": _flat_lines,
    "crs": _crs,
    "warnings": _warnings,
    "concluded": _lines,
    "limits": _lines,
    "figures": visible_lines,
    "training": visible_lines,
    "trained on": visible_lines,
    "told": _lines,
}
"""By key: how its value is shown, where `_plain` is not enough."""
