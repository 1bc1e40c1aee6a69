"""Compiled kernels in place of NumPy, where llvmlite is installed and they are worth loading: they take 75 MiB.

That is in large runs that wait for the blend, because the network is fast, or computed by many cores.

They give the same bytes, so they take over in the middle of a run, as soon as a thread beside it has loaded them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from threading import Lock
from time import perf_counter
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Found = TypeVar("Found")
_log = logging.getLogger(__name__)

LEAST_CELLS = 1 << 24
"""Cells of all patches from which on kernels are loaded: that takes .1 CPU seconds, and saves some 20 ns a cell."""
_SURE = 0.1
"""Seconds of blending after which it is clear whether the network or the blend holds a run up."""
_SCORE, _LABEL = np.dtype(np.float32), np.dtype(np.uint8)


class Loader:
    """Loads the kernels once in a process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._coming: Future[ModuleType | None] | None = None

    def ask(self, cells: int) -> None:
        """Begin to load them if they pay for patches of this many cells together."""
        with self._lock:
            if self._coming is None and cells >= LEAST_CELLS and find_spec("llvmlite"):
                pool = ThreadPoolExecutor(1, "compile")
                self._coming = pool.submit(_load)
                pool.shutdown(wait=False)

    @property
    def kernels(self) -> ModuleType | None:
        """The kernels, once they are loaded."""
        return self._coming.result() if self._coming is not None and self._coming.done() else None


LOADER = Loader()


def asking(
    found: Iterable[Found], ask: Callable[[], None], clock: Callable[[], float] = perf_counter
) -> Iterator[Found]:
    """Yield what is found; call `ask` once more time was spent on it than on waiting for it, from the start."""
    waited = busy = 0.0
    asked, last = False, clock()
    for each in found:
        came = clock()
        waited += came - last
        yield each
        last = clock()
        busy += last - came
        if not asked and busy > max(waited, _SURE):
            asked = True
            ask()


def _load() -> ModuleType | None:
    try:
        from pipeline.engine import kernels
    except Exception:  # a compiler can fail in any way, and is only there for speed
        _log.debug("kernels cannot be compiled", exc_info=True)
        return None
    return kernels


def store(scores: Any, weights: Any, carried: Any | None, out: Any) -> bool:  # noqa: ANN401  (of any `Arrays`)
    """Write scores `(classes, *cells)` times weights, plus sums that were carried over, to `out`, if kernels can.

    `carried` and `out` are `(planes, classes, *cells)`. Returns whether they did.
    """
    kernels = LOADER.kernels
    if kernels is None or len(out) != 1 or not _fit(scores, weights, out, *(() if carried is None else (carried,))):
        return False
    for at in np.ndindex(scores.shape[1:-2]):
        planes = (slice(None), *at)
        if carried is None:
            kernels.multiply(scores[planes], weights[at], out[0][planes])
        else:
            kernels.multiply_add(scores[planes], weights[at], carried[0][planes], out[0][planes])
    return True


def label(scores: Any, weights: Any, carried: Any | None, out: NDArray[Any]) -> bool:  # noqa: ANN401
    """Write the labels of sums as in `store` to `out`, if kernels can, and return whether they did.

    Where nothing is carried over, weights are 1.
    """
    kernels = LOADER.kernels
    if kernels is None or not (_fit(scores) and _fit(out, dtype=_LABEL)):
        return False
    if carried is not None and not (len(carried) == 1 and _fit(weights, carried)):
        return False
    for at in np.ndindex(scores.shape[1:-2]):
        planes = (slice(None), *at)
        if carried is None:
            kernels.label(scores[planes], out[at])
        else:
            kernels.label_sums(scores[planes], weights[at], carried[0][planes], out[at])
    return True


def _fit(*arrays: Any, dtype: np.dtype[Any] = _SCORE) -> bool:  # noqa: ANN401
    """Whether they are of NumPy and of this type, with at least two axes of cells, and rows without gaps."""
    return all(
        isinstance(each, np.ndarray)
        and each.dtype == dtype
        and each.flags.aligned
        and each.ndim > 1
        and each.strides[-1] == each.itemsize
        for each in arrays
    )
