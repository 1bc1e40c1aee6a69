"""Which family a file of weights is of."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.errors import ModelError, first_of
from pipeline.models.importing.families import FAMILIES, Family
from pipeline.models.importing.options import Preset
from pipeline.models.importing.read import Checkpoint
from pipeline.models.importing.unsupported import refuse_unsupported


class DetectedFamily(NamedTuple):
    """A family, and how sure that is."""

    family: Family
    nearest: str
    """The preset whose names fit best, and how many of them, for a message."""


def detect_family(checkpoint: Checkpoint, preset: Preset | None) -> DetectedFamily:
    """The family that knows most names of the file, among those of `preset` if that is given.

    Raises ModelError for networks that are known and not built, and where no family knows half of the names.
    """
    names = list(checkpoint.tensors)
    best = max(FAMILIES, key=lambda family: family.share(names))
    share = best.share(names)
    if share < len(names):
        refuse_unsupported(str(checkpoint.path), names)
    nearest = f"nearest preset: {best.presets[0]}, which knows {share} of the {len(names)} names"
    if 2 * share < len(names):
        raise ModelError(f"{checkpoint.path}: weights of an unknown family ({nearest}): {first_of(names)}")
    if preset is None or preset in best.presets:
        return DetectedFamily(best, nearest)
    asked = [family for family in FAMILIES if preset in family.presets]
    return DetectedFamily(max(asked, key=lambda family: family.share(names)), nearest)
