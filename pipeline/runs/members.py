"""The models of a run: one, or several whose scores are averaged patch by patch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.decoding.readers import one_or_several
from pipeline.errors import ModelError
from pipeline.models.card import Card
from pipeline.models.catalogue import load_card, pin_model
from pipeline.models.hub.address import is_on_hub


@dataclass(frozen=True)
class Member:
    """A model of a run."""

    model: str
    """Name or path; of a model on a hub, the address of its commit."""
    card: Card

    def fingerprint(self) -> dict[str, Any]:
        """Return what decides its scores, as JSON values."""
        return {
            "model": self.card.name,
            "weights_sha256": self.card.weights_sha256,
            "normalisation": asdict(self.card.normalization),
            "network": network_of(self.card),
            "spacing": self.card.spacing,
            **sparse_of(self.card),
        }


def network_of(card: Card) -> dict[str, Any]:
    """Return the network of a model for a fingerprint; without a decoder if it has none, as in older versions."""
    words = asdict(card.network)
    return {name: value for name, value in words.items() if name != "decoder_channels" or value is not None}


def sparse_of(card: Card) -> dict[str, float]:
    """Return temperature and zoom of a model for a fingerprint; nothing if it has none, as in older versions."""
    temperature = {"temperature": card.divisor} if card.calibrated else {}
    return temperature | ({} if card.zoom in (None, 1) else {"zoom": card.zoom})


def origin_of(models: Sequence[str]) -> dict[str, Any]:
    """Return the commits of the models on a hub for a fingerprint; nothing if there is none, as in older versions."""
    found = [model for model in models if is_on_hub(model)]
    return {"hub": one_or_several(tuple(found))} if found else {}


def way_back(before: Mapping[str, Any], models: Sequence[str]) -> str:
    """Return the option for the models of an earlier run, if these are other commits of a hub; else nothing."""
    then = before.get("hub")
    if not then or origin_of(models).get("hub") == then:
        return ""
    return " (" + " ".join(f"--model {model}" for model in ([then] if isinstance(then, str) else then)) + ")"


def load_members(models: Sequence[str]) -> tuple[Member, ...]:
    """Return the models of a run, whose scores can be averaged.

    The first one decides on patch, overlap, window and views.

    Raises:
        ModelError: If there is no such model, or one of them differs from the first in what all must have in common.

    """
    members = tuple(Member(model, load_card(model)) for model in map(pin_model, models))
    first = members[0].card
    for other in members[1:]:
        for what, mine, its in zip(_COMMON, _common(first), _common(other.card), strict=True):
            if mine != its:
                raise ModelError(
                    f"models {first.name} and {other.card.name}: their {what} differ, {_told(mine)} and {_told(its)}; "
                    "scores are averaged only of models that have them in common"
                )
    return members


_COMMON = (
    "kinds",
    "classes",
    "channels",
    "values",
    'scores ("averaging")',
    "neighboring slices",
    "orientations",
    "statistics of the input",
)


def _common(card: Card) -> tuple[object, ...]:
    by_input = card.normalization
    statistics = (by_input.kind, by_input.low, by_input.high) if by_input.by_input else None
    names = tuple(entry.name for entry in card.classes)
    return (
        card.kind,
        names,
        card.channels,
        card.values,
        card.averaging,
        card.margin,
        card.orientation,
        statistics,
    )


def _told(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
