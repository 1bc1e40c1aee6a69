"""What the page of a model says: what its card knows, and the evaluations that it records."""

from __future__ import annotations

import shlex
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from pipeline.engine.ledger import flat
from pipeline.errors import size_text
from pipeline.evaluation.charts import reliability_svg, resolution_svg
from pipeline.evaluation.pictures import FAILURE
from pipeline.models.card import Card, Domain, Range, read_card
from pipeline.models.catalogue import Files
from pipeline.reports.values import Facts, made_by
from pipeline.training.config import as_written

_SCENE = {"iou": "IoU", "precision": "precision", "recall": "recall", "boundary_f1": "boundary F1"}
_VOLUME = {"case_dice": "Dice", "hd95_mm": "HD95, mm", "surface_dice": "surface Dice", "volume_error": "volume error"}
_DATA = {
    "images": "images",
    "table": "table of images",
    "validation": "kept for validation",
    "exclude": "not trained on",
}
"""Keys of the data of a recipe that are told."""
_PARTS = {"train": "learned from", "validation": "selected by", "unlabeled": "seen without labels"}
"""Parts of the items of a training that are told."""
_RANKS = ("best", "median", "worst")
_MOST_NAMES = 8
"""Names of items that are listed."""
_DIGITS = 12
"""Digits of the SHA-256 of the weights that are shown."""


@dataclass(frozen=True)
class FigureTable:
    """Figures of each class, and their means."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """Name of the class, then a text for each title."""


@dataclass(frozen=True)
class RecordedEvaluation:
    """An evaluation that `evaluate --record` wrote into the card."""

    name: str
    told: str
    """On what it was measured."""
    table: FigureTable
    facts: Facts
    """Accuracy, calibration, speed and memory."""
    charts: tuple[Chart, ...]
    resolutions: FigureTable | None


@dataclass(frozen=True)
class Chart:
    """A chart, and what it shows."""

    name: str
    """Of its file, without suffix."""
    svg: str
    alt: str


@dataclass(frozen=True)
class Shown:
    """A picture of an evaluation in a file."""

    path: Path
    alt: str

    @property
    def inside(self) -> str:
        """The picture as an address that holds it."""
        return f"data:image/png;base64,{b64encode(self.path.read_bytes()).decode('ascii')}"


@dataclass(frozen=True)
class ModelPage:
    """What the page of a model says."""

    title: str
    summary: str
    made_by: str
    facts: Facts
    trained: Facts
    """Where it was trained: data, and the domain that inputs are compared with."""
    evaluations: tuple[RecordedEvaluation, ...]
    others: Facts
    """Recorded figures of other forms."""
    pictures: tuple[Shown, ...]
    failures: tuple[Shown, ...]
    limits: tuple[str, ...]
    recipe: Facts
    commands: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What is missing."""


def model_page(ref: str, files: Files, pictures: Path | None = None) -> ModelPage:
    """Return what the page of a model says.

    Args:
        ref: Its name or path, for commands.
        files: Its files.
        pictures: Folder with the pictures of `evaluate --pictures`; None: none are shown.

    """
    card = read_card(files.card)
    recorded = {name: found for name, found in card.evaluation.items() if _is_recorded(found)}
    shown, failures = _pictures(pictures)
    return ModelPage(
        title=card.name,
        summary=f"A model for {card.kind}s: {', '.join(entry.name for entry in card.classes)}.",
        made_by=made_by(),
        facts=tuple(_facts(card, files)),
        trained=trained_on(card),
        evaluations=tuple(_evaluation(card, name, found) for name, found in recorded.items()),
        others=_flat({name: found for name, found in card.evaluation.items() if name not in recorded}),
        pictures=shown,
        failures=failures,
        limits=card.limits,
        recipe=recipe_of(card),
        commands=_commands(ref, card.kind),
        notes=tuple(_missing(card, recorded)),
    )


def _is_recorded(found: object) -> bool:
    return isinstance(found, Mapping) and isinstance(found.get("classes"), Mapping) and "figures" in found


def _facts(card: Card, files: Files) -> Iterator[tuple[str, str]]:
    unit = "m on the ground" if card.kind == "scene" else "mm"
    spacing = "" if card.spacing is None else f", {card.spacing[0]:g} {unit} a pixel"
    zoom = "" if card.zoom in (None, 1) else f" of the {card.kind} enlarged {card.zoom:g} times"
    yield "input", f"a {card.kind} with {', '.join(dict.fromkeys(card.channels))}"
    yield "classes", ", ".join(f"{value} {entry.name}" for value, entry in enumerate(card.classes))
    yield "network", card.network.title
    patch, overlap = (f"{sides[0]} x {sides[1]}" for sides in (card.patch, card.overlap))
    yield "patch", f"{patch} pixels{spacing}{zoom}, overlap {overlap}"
    if card.views:
        yield "views", ", ".join(card.views)
    if card.calibrated:
        yield "temperature", f"{card.divisor:g}, by which logits are divided before the softmax"
    yield "weights", f"{size_text(files.weights.stat().st_size)}, SHA-256 {card.weights_sha256[:_DIGITS]}..."
    yield "license of the weights", card.license
    yield "data and its license", card.credits


def recipe_of(card: Card) -> Facts:
    """Return how a model was trained, by the keys of a training file."""
    return _flat(as_written({name: value for name, value in card.training.items() if name != "items"}))


def trained_on(card: Card) -> Facts:
    """Return on how much, and on what, a model was trained."""
    return tuple(_trained(card))


def measured(found: Mapping[str, Any]) -> Facts:
    """Return what a recorded evaluation says beside the figures of classes."""
    return tuple(_facts_of(found))


def by_pixel_size(found: Mapping[str, Any]) -> Facts:
    """Return the mean IoU at each size of pixels that a recorded evaluation measured."""
    sizes = found.get("resolutions") or ()
    return tuple((f"pixels {_pixel(one)}", f"mean IoU {_triple(one['figures']['mean_iou'])}") for one in sizes)


def _trained(card: Card) -> Iterator[tuple[str, str]]:
    data, items = card.training.get("data"), card.training.get("items")
    if isinstance(items, Mapping):
        yield from _items(items)
    if isinstance(data, Mapping):
        told = {key: title for key, title in _DATA.items() if data.get(key) and not (key == "table" and items)}
        yield from ((title, _listed(data[key])) for key, title in told.items())
    yield from _domain(card.channels, card.domain)


def _items(items: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield how much it was trained on, and where that is."""
    for part, title in _PARTS.items():
        if _is_counted(found := items.get(part)):
            yield title, f"{found['count']:,}, {found['cells'] / 1e6:,.1f} million cells{_shares(found)}"
            if places := found.get("places"):
                yield "places, to a tenth of a degree", _listed([_place(*place) for place in places])


def _is_counted(found: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(found, Mapping) and all(isinstance(found.get(name), int) for name in ("count", "cells"))


def _shares(found: Mapping[str, Any]) -> str:
    classes = found.get("classes") or {}
    told = ", ".join(f"{name} {share:.1%}" for name, share in classes.items())
    return f", labeled {told}" if told else ""


def _place(longitude: float, latitude: float) -> str:
    return f"{abs(latitude):g} {'S' if latitude < 0 else 'N'} {abs(longitude):g} {'W' if longitude < 0 else 'E'}"


def _domain(channels: Sequence[str], domain: Domain | None) -> Iterator[tuple[str, str]]:
    if domain is None:
        return
    if domain.values:
        told = (f"{name} {_range(values)}" for name, values in zip(channels, domain.values, strict=True))
        yield "values", ", ".join(told)
    if domain.ground_resolution:
        yield "pixels on the ground", f"{_range(domain.ground_resolution)} m"
    for title, ranges in (("voxels", domain.spacing), ("field of view", domain.field_of_view)):
        if ranges:
            yield title, f"{' x '.join(map(_range, ranges))} mm (x, y, z)"
    if domain.appearance is not None:
        yield "how values look", "recorded; a run reports how far its input is from it"


def _range(ends: Range) -> str:
    return f"{ends[0]:g}" if ends[0] == ends[1] else f"{ends[0]:g} to {ends[1]:g}"


def _evaluation(card: Card, name: str, found: Mapping[str, Any]) -> RecordedEvaluation:
    calibration, resolutions = found.get("calibration"), found.get("resolutions")
    colors = {entry.name: entry.color for entry in card.classes}
    charts = []
    if calibration is not None:
        charts.append(Chart(f"{name}-reliability", reliability_svg(calibration), f"reliability diagram of {name}"))
    if resolutions:
        charts.append(Chart(f"{name}-resolutions", resolution_svg(resolutions, colors), f"IoU by pixel size, {name}"))
    return RecordedEvaluation(
        name,
        _measured_on(found),
        _figures(card, found),
        measured(found),
        tuple(charts),
        _resolutions(resolutions) if resolutions else None,
    )


def _measured_on(found: Mapping[str, Any]) -> str:
    items, counted = found.get("items"), found.get("counted", 0)
    if items == 1:
        return f"1 item, {counted:,} cells with a truth; there are no intervals of a single item."
    return f"{items} items, {counted:,} cells with a truth. In brackets: 95 % intervals over items."


def _figures(card: Card, found: Mapping[str, Any]) -> FigureTable:
    """Return the figures of each class that are known of any, and their means."""
    means = {name.removeprefix("mean_"): value for name, value in found["figures"].items()}
    known = _VOLUME if card.kind == "volume" else _SCENE
    rows = {**found["classes"], "mean": means}
    keys = [key for key in known if any(_is_known(row.get(key)) for row in rows.values())]
    listed = ((name, *(_triple(row.get(key)) for key in keys)) for name, row in rows.items())
    return FigureTable(
        tuple(known[key] for key in keys), tuple(row for row in listed if any(text != "-" for text in row[1:]))
    )


def _facts_of(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "accuracy", _triple(found["figures"].get("accuracy"))
    if calibration := found.get("calibration"):
        yield "expected calibration error", _triple(calibration["ece"])
        if before := calibration.get("before"):
            yield "without the temperature", _triple(before["ece"])
        yield (
            "the same of cells predicted as",
            ", ".join(f"{name} {_triple(one)}" for name, one in calibration["classes"].items()),
        )
    machine = found.get("machine") or {}
    if found.get("megapixels_per_second"):
        yield "speed", f"{found['megapixels_per_second']:.3g} Mpx/s{_where(machine)}"
    if machine.get("peak_memory_bytes"):
        yield "peak memory", size_text(machine["peak_memory_bytes"])
    asked = {name: found[name] for name in ("view", "tta", "features", "window", "patch", "overlap") if found.get(name)}
    if asked:
        yield "segmented with", ", ".join(f"{name} {_words(value)}" for name, value in asked.items())


def _where(machine: Mapping[str, Any]) -> str:
    if not machine:
        return ""
    return f" on {machine['processors']} processors ({machine['device']}, {machine['precision']}, {machine['runtime']})"


def _resolutions(found: Sequence[Mapping[str, Any]]) -> FigureTable:
    names = tuple(found[0]["classes"])
    return FigureTable((*names, "mean"), tuple((_pixel(one), *_row(one, names)) for one in found))


def _pixel(one: Mapping[str, Any]) -> str:
    ground = one["ground"] or ()
    sides = " to ".join(dict.fromkeys(f"{side:.3g}" for side in ground))
    return f"x {one['factor']:g}" + (f", {sides} m" if sides else "")


def _row(one: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    yield from (_triple(one["classes"][name]["iou"]) for name in names)
    yield _triple(one["figures"]["mean_iou"])


def _is_known(triple: Sequence[float | None] | None) -> bool:
    return bool(triple) and triple is not None and triple[0] is not None


def _triple(triple: Sequence[float | None] | None) -> str:
    """Return a recorded figure with its interval."""
    if triple is None or triple[0] is None:
        return "-"
    value, low, high = triple
    return f"{value:.3f}" + ("" if low is None or high is None else f" ({low:.3f} to {high:.3f})")


def _flat(values: Mapping[str, Any]) -> Facts:
    return tuple((name, _words(value)) for name, value in flat(values).items() if value not in (None, [], ()))


def _words(value: object) -> str:
    return ", ".join(map(_words, value)) if isinstance(value, (list, tuple)) else f"{value}"


def _listed(value: object) -> str:
    """Return a text, or the first of a long list and how many there are."""
    if not isinstance(value, (list, tuple)) or len(value) <= _MOST_NAMES:
        return _words(value)
    return f"{_words(value[:_MOST_NAMES])} and {len(value) - _MOST_NAMES} more"


def _pictures(folder: Path | None) -> tuple[tuple[Shown, ...], tuple[Shown, ...]]:
    """Return the pictures of whole items, and of failures, worst first."""
    if folder is None:
        return (), ()
    items = [(rank, path) for rank in _RANKS for path in sorted(folder.glob(f"{rank}_*.png"))]
    failures = sorted(folder.glob(f"{FAILURE}_*.png"))
    return (
        tuple(Shown(path, f"{rank} item: {path.stem.removeprefix(f'{rank}_')}") for rank, path in items),
        tuple(Shown(path, f"where it errs: {path.stem.split('_', 2)[-1]}") for path in failures),
    )


def _commands(ref: str, kind: str) -> tuple[str, ...]:
    model = shlex.quote(ref)
    more = " --resolutions 0.5,1,2,4" if kind == "scene" else ""
    evaluate = f"pipeline evaluate --model {model} --truth LABELS"
    return (
        f"{evaluate} --input VALIDATION --calibrate --record validation",
        f"{evaluate} --input TEST --reliability{more} --pictures FOLDER --record test",
        f"pipeline models {model} --page PAGE --pictures FOLDER",
    )


def _missing(card: Card, recorded: Mapping[str, Any]) -> Iterator[str]:
    if not recorded:
        yield "No figures are recorded: `pipeline evaluate --record NAME` measures them."
    elif not any("calibration" in found for found in recorded.values()):
        yield "It is not known how far its probabilities can be trusted: `pipeline evaluate --reliability` measures it."
    if card.kind == "scene" and recorded and not any(found.get("resolutions") for found in recorded.values()):
        yield "It is not known what larger or smaller pixels do to it: `pipeline evaluate --resolutions` measures it."
    if card.domain is None:
        yield "It is not known what it was trained on, so nothing warns of other inputs."
