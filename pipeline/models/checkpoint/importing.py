"""From a file of another project to a model or a backbone of this one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.models.card import Card
from pipeline.models.checkpoint.wishes import Wishes


@dataclass(frozen=True)
class Imported:
    """What became of a file."""

    path: Path
    """Folder that was written."""
    preset: str
    """Family that the file is of."""
    card: Card
    concluded: tuple[str, ...]
    """What the file said, and where."""
    told: tuple[str, ...]
    """What it could not say: from the options, else from the habits of its home project."""


def import_weights(file: Path, out: Path, wishes: Wishes = Wishes()) -> Imported:  # noqa: B008  (frozen)
    """Write the network of `file` with its card to the folder `out`; ModelError if it cannot be used."""
    raise NotImplementedError
