"""What the numbers of a training file may be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pipeline.decoding import keys_of


class _Limit(NamedTuple):
    """What a number may be."""

    words: str
    holds: Callable[[float], bool]


_SHARE = _Limit("from 0 to 1", lambda x: 0 <= x <= 1)
_PART = _Limit("from 0 to below 1", lambda x: 0 <= x < 1)
_SOME = _Limit("above 0, up to 1", lambda x: 0 < x <= 1)
_NOT_BELOW_0 = _Limit("0 or more", lambda x: x >= 0)
_ABOVE_0 = _Limit("above 0", lambda x: x > 0)
_COUNT = _Limit("at least 1", lambda x: x >= 1)
LIMITS: Mapping[str, Mapping[str, _Limit]] = {
    "network": dict.fromkeys(("auxiliary", "frozen_stages"), _NOT_BELOW_0),
    "samples": {
        **dict.fromkeys(("patch", "batch"), _COUNT),
        **dict.fromkeys(("balanced", "unlabeled"), _SHARE),
        **dict.fromkeys(("spacing", "zoom"), _ABOVE_0),
        "margin": _NOT_BELOW_0,
        "most_of_one": _SOME,
    },
    "augmentation": {
        **dict.fromkeys(("rotation", "brightness", "contrast", "gamma", "color", "noise"), _NOT_BELOW_0),
        "scale": _ABOVE_0,
        "stretch": _PART,
        "blur": _SHARE,
    },
    "loss": {
        **dict.fromkeys(("dice", "class_weights", "boundary"), _NOT_BELOW_0),
        "smoothing": _PART,
        "hardest": _SOME,
    },
    "teacher": {"weight": _NOT_BELOW_0, "confident": _SHARE},
    "schedule": {
        **dict.fromkeys(("steps", "every"), _COUNT),
        **dict.fromkeys(("new_layers", "decay", "power", "warm_up", "clip", "checks", "patience"), _NOT_BELOW_0),
        **dict.fromkeys(("momentum", "averaging"), _PART),
        "rate": _ABOVE_0,
        "coarse": _SHARE,
    },
}
"""Limits of the numbers of each table, by field."""


def beyond(table: str, values: Any) -> Iterator[str]:  # noqa: ANN401  (the dataclass of a table)
    """Yield which numbers of a table are not within their limits, with the key."""
    limits = LIMITS[table]
    for key in keys_of(type(values)):
        value, limit = getattr(values, key.field.name), limits.get(key.field.name)
        if limit is not None and not all(map(limit.holds, _numbers(value))):
            told = list(value) if isinstance(value, tuple) else value
            yield f"{table}.{key.name}: must be {limit.words}, got {told}"


def _numbers(value: Any) -> Iterable[float]:  # noqa: ANN401  (what a key holds)
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)
