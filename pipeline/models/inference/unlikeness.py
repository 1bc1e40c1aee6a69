"""How far the values of an input look from those that a model was trained on. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp, sqrt
from typing import Any, NamedTuple

import numpy as np

from pipeline.models.card import Appearance, Normalization
from pipeline.sources.appearance import MEASURES, Look

_FLOORS = {"level": 0.1, "contrast": 0.1, "roughness": 0.1, "asymmetry": 0.05, "agreement": 0.05}
"""Least standard deviation of each measure that is taken for usual; of the level, in standard deviations of values."""
_LEAST, _ALONE, _MOST = 0.4, 1.5, 95
"""Least distance that is taken for usual, that of a training with one input, and the percentile of most inputs."""
_OF_UNITS = ("level", "contrast")
"""Measures that scaling the values changes."""


class Unlikeness(NamedTuple):
    """How far an input looks from those of a training."""

    distance: float
    """In units of how far most training inputs are from the others."""
    measure: str
    """The measure that is the farthest, such as "contrast"."""
    channel: int
    """Its channel."""


def appearance_of(looks: Sequence[Look], normalization: Normalization) -> Appearance | None:
    """Return what inputs look like by the looks `(samples, measures, channels)` of each; None without any.

    Each input counts alike, however many samples it has. Its distance from the mean of the others is that from the mean
    of all, times n / (n - 1).
    """
    if not looks:
        return None
    known = _summary(looks, normalization)
    found = [unlikeness_of(each, replace(known, usual=1.0)) for each in looks]
    distances = [one.distance * len(looks) / (len(looks) - 1) for one in found if one is not None and len(looks) > 1]
    return replace(known, usual=_rounded(max(_LEAST, float(np.percentile(distances, _MOST)))) if distances else None)


def _summary(looks: Sequence[Look], normalization: Normalization) -> Appearance:
    mean = np.mean([each.mean(0) for each in looks], 0)
    spread = np.sqrt(np.mean([((each - mean) ** 2).mean(0) for each in looks], 0))
    left_out = _OF_UNITS if normalization.by_input else ()
    known: dict[str, Any] = {
        name: tuple((_rounded(m), _rounded(s)) for m, s in zip(means, spreads, strict=True))
        for name, means, spreads in zip(MEASURES, mean, spread, strict=True)
        if name not in left_out and np.isfinite(means).all()
    }
    return Appearance(**known)


def unlikeness_of(looks: Look, appearance: Appearance) -> Unlikeness | None:
    """Return how far an input with the looks `(samples, measures, channels)` is; None if nothing is to be compared.

    That is the root mean square, over all measures, of the distance from the mean of the training in standard
    deviations of its samples, divided by what it is for most training inputs.
    """
    found = dict(zip(MEASURES, looks.mean(0), strict=True))
    apart = [
        (abs(value - mean) / max(spread, _floor(name, appearance, channel)), name, channel)
        for name in MEASURES
        for channel, (value, (mean, spread)) in enumerate(zip(found[name], getattr(appearance, name), strict=False))
        if np.isfinite(value)
    ]
    if not apart:
        return None
    _, measure, channel = max(apart)
    root = sqrt(sum(far**2 for far, _, _ in apart) / len(apart))
    return Unlikeness(root / (appearance.usual or _ALONE), measure, channel)


def _floor(name: str, appearance: Appearance, channel: int) -> float:
    if name == "level" and appearance.contrast:
        return _FLOORS[name] * exp(appearance.contrast[channel][0])
    return _FLOORS[name]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
