"""What an item is called in the ledger of an archive, and what decides its mask: its key, and its recipe."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pipeline.decoding import encode
from pipeline.io.address import with_paths
from pipeline.io.formats import Input, look
from pipeline.io.opening import content_of
from pipeline.jobs.job import Job
from pipeline.models.catalogue import load_card
from pipeline.runs.members import origin_of
from pipeline.runs.prepare import DEFAULTS
from pipeline.runs.prepared import FORMAT

_NOT_IN_RECIPE = ("evaluation", "training", "limits", "licence", "credits", "int8", "domain")
"""Fields of a card that decide no byte of a mask."""
_DEFAULTS = (
    ("values", "raw"),
    ("view_weights", ()),
    ("features", "patch"),
    ("features", None),
    ("temperature", 1.0),
    ("zoom", 1.0),
)
"""Fields of a card with what cards without them mean."""


def key_of(job: Job) -> str:
    """Return the key of an item in the ledger: an address, or an absolute path."""
    path = with_paths(job.name, lambda path: str(Path(path).absolute()))
    return path if job.volume is None else path + _volume(look(job.input), job.volume)


def _volume(item: Input, number: int) -> str:
    """Return what distinguishes one volume of a file from the others."""
    return f"[{number}]" if item.is_path or "volume" in item.format.takes else ""


def recipe_of(job: Job) -> dict[str, Any]:
    """Return everything that decides a mask except its input, as JSON values."""
    said = asdict(replace(job.plain(), input="", output=None, model=None, features=None, allow=None, catalog=None))
    how = {name: value for name, value in said.items() if value not in (None, "")}
    if job.aoi is not None and Path(job.aoi).is_file():
        how["aoi"] = content_of(job.aoi)
    cards = [encode(load_card(name)) for name in job.models or DEFAULTS.values()]
    for card in cards:
        card["features"] = job.features or card.get("features")
    told = [{name: value for name, value in card.items() if _is_in_recipe(name, value)} for card in cards]
    together = len(job.models) > 1  # in their order, and perhaps of one name
    names = [f"{number} {card['name']}" if together else card["name"] for number, card in enumerate(cards, 1)]
    return {"format": FORMAT, **how, "models": dict(zip(names, told, strict=True)), **origin_of(job.models)}


def _is_in_recipe(name: str, value: object) -> bool:
    """Return whether a field of a card is in the recipe: not if it decides nothing or has the older default."""
    return name not in _NOT_IN_RECIPE and (name, value) not in _DEFAULTS
