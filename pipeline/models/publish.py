"""Models under names that never change what they stand for."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.errors import OutputError
from pipeline.models.catalogue import find_model, load_card

_SHOWN = 12
"""Digits of the weights' SHA-256 in a name."""


def publish_model(ref: str | Path, folder: Path) -> Path:
    """Copy the model `ref` to `folder/<name>-<digits of its weights' SHA-256>`, unless it is there; where it lies.

    It appears when it is whole, and a job that names it always gets the same weights. Raises ModelError, OutputError.
    """
    card, files = load_card(ref), find_model(ref)
    place = folder / f"{card.name}-{card.weights_sha256[:_SHOWN]}"
    draft = place.with_name(f".{place.name}.partial")
    if place.exists():
        return place
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for file in files:
            shutil.copy2(file, draft / file.name)
        draft.rename(place)
    except OSError as error:
        raise OutputError(f"{place}: the model cannot be published ({error.strerror})") from error
    return place
