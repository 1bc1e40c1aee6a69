"""A small memory of what the network gave for values that repeat: open sea, padding, cells without data."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from hashlib import sha256
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STEP = 16
"""Along the last two axes, one value in so many is looked at to tell whether values may have been seen before."""
_SEEN, _KEPT = 256, 4
"""Samples of values that are remembered, and results."""
BYTES = 64 << 20
"""Most bytes of the results that are kept: what is larger is computed again instead."""


class Repeats:
    """Results of the network by the bytes of its input; whether one is remembered changes no byte of the output.

    Values that are new cost a look at a sample of them. Only if that sample was seen before are they hashed, so the
    second result for the same values is kept, and from the third time on it is used. Methods may be called from many
    threads.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._samples: OrderedDict[bytes, bool] = OrderedDict()
        self._results: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def key(self, values: NDArray[Any], valid: NDArray[np.bool_] | None, where: Hashable = None) -> Hashable | None:
        """Return the key of values `(channels, *seen)` with `valid` cells `(*seen)`, or None for new ones.

        `where` is what else the result depends on.
        """
        sample = _digest(values[..., ::_STEP, ::_STEP])
        with self._lock:
            known = _put(self._samples, sample, True, _SEEN)
        return (_digest(values), None if valid is None else _digest(valid), where) if known else None

    def get(self, key: Hashable | None) -> Any:  # noqa: ANN401  (what the network gives)
        """Return the result that is kept for `key`; None if there is none."""
        with self._lock:
            if key not in self._results:
                return None
            self._results.move_to_end(key)
            return self._results[key][0]

    def keep(self, key: Hashable | None, result: Any, size: int = 0) -> None:  # noqa: ANN401
        """Keep a result of `size` bytes in place of those that were used least lately.

        Nothing is kept for the key None, or of more than `BYTES`.
        """
        if key is not None and size <= BYTES:
            with self._lock:
                _put(self._results, key, (result, size), _KEPT)
                while sum(kept for _, kept in self._results.values()) > BYTES:
                    self._results.popitem(last=False)


def _put(entries: OrderedDict[Any, Any], key: Hashable, value: object, most: int) -> bool:
    """Put an entry last, drop the first one beyond `most`, and return whether it was there."""
    known = key in entries
    entries[key] = value
    entries.move_to_end(key)
    if len(entries) > most:
        entries.popitem(last=False)
    return known


def _digest(values: NDArray[Any]) -> bytes:
    return sha256(f"{values.shape} {values.dtype}".encode() + values.tobytes()).digest()
