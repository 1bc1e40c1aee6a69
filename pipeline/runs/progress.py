"""How the outside follows one item, and stops it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event

from pipeline.engine import Watch
from pipeline.engine.ledger import Ledger
from pipeline.errors import Interrupted
from pipeline.geometry import Box, Lattice, split_runs
from pipeline.geometry.partition import patches_of


@dataclass(frozen=True)
class Progress:
    """How the outside follows one item."""

    begun: Callable[[int, int], None] = lambda cells, done: None
    """Called with the cells of the item, and how many of them an earlier run did."""
    advanced: Callable[[float], None] = lambda cells: None
    """Called with the number of cells that were just done."""
    phase: Callable[[str], None] = lambda name: None
    """Called when another step begins: reading, segmenting, writing."""
    note: Callable[[str], None] = lambda line: None
    """Called with what the user should know, beside the figures."""


UNSEEN = Progress()


def watch_of(lattice: Lattice, todo: Sequence[Box], progress: Progress, stop: Event) -> Watch:
    """Follows a sweep of the slabs `todo` by patch: each is its share of their cells. Ends it when `stop` is set."""
    patches = patches_of(lattice, split_runs(todo, 1))
    share = sum(slab.size for slab in todo) / max(1, patches)
    return Watch(predicted=lambda count: progress.advanced(count * share), stop=stop)


class Ticker:
    """Progress by slab, from what other processes note in the ledger."""

    def __init__(self, ledger: Ledger, todo: Sequence[Box], progress: Progress, stop: Event) -> None:
        self._ledger, self._todo, self._progress, self._stop = ledger, list(todo), progress, stop

    def __call__(self) -> None:
        """Tell the slabs that were done since the last call. Raises Interrupted if it is to stop."""
        if self._stop.is_set():
            raise Interrupted
        done = self._ledger.done(self._todo)
        self._todo = [slab for slab in self._todo if slab not in done]
        self._progress.advanced(sum(slab.size for slab in done))
