"""Publish models under names that never change their meaning."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.files.atomic import atomic_folder
from pipeline.models.catalogue import files_of, load_card

_SHOWN = 12
"""Digits of the weights' SHA-256 in a name."""


def publish_model(ref: str | Path, folder: Path) -> Path:
    """Copy the model `ref` to `folder/<name>-<digits of its weights' SHA-256>`, unless it exists; return its path.

    It appears when it is complete, and a job that names it always gets the same weights.

    Raises:
        ModelError: if there is no such model.
        OutputError: if it cannot be copied.

    """
    card, files = load_card(ref), files_of(ref)
    place = folder / f"{card.name}-{card.weights_sha256[:_SHOWN]}"
    if place.exists():
        return place
    with atomic_folder(place) as draft:
        for name, file in files.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, draft / name)
    return place
