"""Print models: a table of many, all that is known of one, and those of a hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pipeline.cli.tables import flat_lines, print_json, print_records, print_table, table_of, titles_of
from pipeline.decoding import encode
from pipeline.errors import counted
from pipeline.files.visible import visible

if TYPE_CHECKING:
    from pipeline.models.card import Card
    from pipeline.models.hub.listing import HubModel
    from pipeline.reports.values import Facts


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
    spacing = f" at {card.spacing[0]:g} {unit}" if card.spacing else ""
    zoom = "" if card.zoom in (None, 1) else f" at zoom {card.zoom:g}"
    return " x ".join(map(str, card.patch)) + spacing + zoom


def _figure_lines(name: str, found: object, kind: str) -> str:
    """Return figures that `evaluate --record` wrote, one line per class; others as they are."""
    if not isinstance(found, Mapping) or not isinstance(found.get("classes"), Mapping):
        return flat_lines({name: found})
    from pipeline.reports.model import by_pixel_size, measured

    shown = titles_of(kind)
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
