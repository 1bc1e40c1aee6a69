"""Find finished masks of volumes that should be reviewed: empty ones, and those with unusual volumes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from pipeline.archive.ledger import StructureVolume

FEWEST = 10
"""Items that an archive needs for one of them to be unusual."""
_DEVIATIONS, _SHARE = 5.0, 0.2
"""Least distance from the median: in standard deviations, and as a share of the median."""
_USUAL = 0.9
"""Share of items with a structure from which on one without it is unusual."""
_OF_NORMAL = 1.4826
"""A normal distribution's standard deviation over its median absolute deviation."""


@dataclass(frozen=True)
class Outlier:
    """A finished item, and what is unusual about its mask."""

    input: str
    code: str
    reason: str


def find_outliers(volumes: Sequence[StructureVolume]) -> list[Outlier]:
    """Return items without any structure, and those with one far larger or smaller than in the others, by item."""
    filled = {item for item, _, ml in volumes if ml}
    found = _empty((item, name) for item, name, _ in volumes if item not in filled)
    by_name = defaultdict(list)
    for item, name, ml in volumes:
        if item in filled:
            by_name[name].append((item, ml))
    for name, measured in by_name.items():
        found += _unusual(name, measured)
    return sorted(found, key=lambda outlier: (outlier.input, outlier.code, outlier.reason))


def _empty(structures: Iterable[tuple[str, str]]) -> list[Outlier]:
    missing = defaultdict(list)
    for item, name in structures:
        missing[item].append(name)
    words = {item: f"{item}: has none of {', '.join(sorted(names))}" for item, names in missing.items()}
    return [Outlier(item, "empty-mask", reason) for item, reason in words.items()]


def _unusual(name: str, measured: Sequence[tuple[str, float]]) -> list[Outlier]:
    """Compare with the items that have the structure; those without it count only if nearly all have it."""
    having = [ml for _, ml in measured if ml]
    if len(having) < FEWEST:
        return []
    middle = median(having)
    spread = _OF_NORMAL * median([abs(ml - middle) for ml in having])
    least = max(_DEVIATIONS * spread, _SHARE * middle)
    absent_too = len(having) >= _USUAL * len(measured)
    return [
        Outlier(item, "volume-outlier", f"{item}: {name} has {ml:.3g} ml; the median of {len(having)} is {middle:.3g}")
        for item, ml in measured
        if abs(ml - middle) > least and (ml or absent_too)
    ]
