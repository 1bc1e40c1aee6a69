"""Find finished masks of volumes that should be reviewed: empty ones, and those with unusual volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from pipeline.errors import PipelineError
from pipeline.files.object_path import output_path
from pipeline.io.formats import mask_format
from pipeline.masks.structures import measure
from pipeline.runs.storage import copied

FEWEST = 10
"""Items that an archive needs for one of them to be unusual."""
_DEVIATIONS, _SHARE = 5.0, 0.2
"""Least distance from the median: in standard deviations, and as a share of the median."""
_USUAL = 0.9
"""Share of items with a structure from which on one without it is unusual."""
_OF_NORMAL = 1.4826
"""A normal distribution's standard deviation over its median absolute deviation."""
Volumes = Mapping[str, Mapping[str, float]]
"""Millilitres by structure, by item."""


@dataclass(frozen=True)
class Outlier:
    """A finished item, and what is unusual about its mask."""

    input: str
    code: str
    reason: str


def measure_volumes(mask: str | None) -> dict[str, float]:
    """Return milliliters of each structure of a volume's mask, without background; empty if it is not such a mask."""
    if mask is None or mask_format(output_path(mask), "volume") is None:
        return {}
    try:
        with copied(output_path(mask)) as file:
            return {found.name: found.ml for found in measure(file) if found.value}
    except (PipelineError, OSError):
        return {}


def find_outliers(items: Volumes) -> list[Outlier]:
    """Return items without any structure, and those with one far larger or smaller than in the others, by item."""
    empty = {item for item, volumes in items.items() if not any(volumes.values())}
    found = [Outlier(item, "empty-mask", f"{item}: has none of {', '.join(items[item])}") for item in empty]
    filled = {item: volumes for item, volumes in items.items() if item not in empty}
    names = {name: None for volumes in filled.values() for name in volumes}
    for name in names:
        found += _unusual(name, {item: volumes[name] for item, volumes in filled.items() if name in volumes})
    return sorted(found, key=lambda outlier: (outlier.input, outlier.code, outlier.reason))


def _unusual(name: str, volumes: Mapping[str, float]) -> list[Outlier]:
    """Compare with the items that have the structure; those without it count only if nearly all have it."""
    having = {item: ml for item, ml in volumes.items() if ml}
    if len(having) < FEWEST:
        return []
    middle = median(having.values())
    spread = _OF_NORMAL * median(abs(ml - middle) for ml in having.values())
    least = max(_DEVIATIONS * spread, _SHARE * middle)
    return [
        Outlier(item, "volume-outlier", f"{item}: {name} has {ml:.3g} ml; the median of {len(having)} is {middle:.3g}")
        for item, ml in (volumes if len(having) >= _USUAL * len(volumes) else having).items()
        if abs(ml - middle) > least
    ]
