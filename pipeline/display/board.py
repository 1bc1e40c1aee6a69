"""How far a run is: each item that is in flight, and all of them together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import RLock
from time import monotonic
from typing import Literal

from pipeline.files.process import memory_used

_RECENT, _MARK = 30.0, 0.5
"""Seconds over which a rate is measured, and between two marks of it."""
_REMEASURED = 2.0
"""Seconds between two measurements of the memory."""

Ending = Literal["done", "skipped", "failed", "held"]


@dataclass(frozen=True)
class ItemState:
    """How far an item is."""

    name: str
    number: int
    """From 1; 0: it is no item, but a step over all of them."""
    phase: str
    seconds: float
    """Since its phase began."""
    share: float | None
    """Of its cells that are done, 0 to 1; None: their number is not known yet."""
    rate: float | None
    """Cells per second, lately; None: nothing was done."""
    seconds_left: float | None
    """None: not known, or all cells are done."""


@dataclass(frozen=True)
class RunState:
    """How far a run over one item or many is."""

    count: int
    ended: int
    """Items that have ended, however they ended."""
    failed: int
    share: float
    """Of the items, 0 to 1; those in flight count by their share."""
    rate: float | None
    seconds_left: float | None
    memory: int
    """Bytes in use by this process and those it started."""
    items: tuple[ItemState | None, ...]
    """Places of items in flight; an item stays in its place. None: the place is free."""


class _Meter:
    """Counts cells, and how many there were lately."""

    def __init__(self, now: float) -> None:
        self.cells = 0.0
        self._marks = deque([(now, 0.0)])

    def add(self, cells: float, now: float) -> None:
        self.cells += cells
        if now - self._marks[-1][0] >= _MARK:
            self._marks.append((now, self.cells))
        while len(self._marks) > 1 and now - self._marks[1][0] > _RECENT:
            self._marks.popleft()

    def rate(self, now: float) -> float | None:
        began, before = self._marks[0]
        return (self.cells - before) / (now - began) if self.cells > before and now > began else None


class Item:
    """An item in flight. Its methods may be called from any thread."""

    def __init__(self, board: Board, name: str, number: int) -> None:
        self._board, self._name, self._number = board, name, number
        self._phase, self._began = "", board.clock()
        self._total: int | None = None
        self._had = 0
        self._meter = _Meter(self._began)

    def started(self, cells: int, done: int) -> None:
        """Take the number of cells, of which an earlier run did some."""
        with self._board.lock:
            self._total, self._had, self._meter = cells, done, _Meter(self._board.clock())

    def advanced(self, cells: float) -> None:
        """Count cells that were just done."""
        with self._board.lock:
            now = self._board.clock()
            self._meter.add(cells, now)
            self._board.meter.add(cells, now)

    def phase(self, name: str) -> None:
        """Begin a phase."""
        with self._board.lock:
            self._phase, self._began = name, self._board.clock()

    def state(self, now: float) -> ItemState:
        """Return how far it is."""
        rate, left = self._meter.rate(now), self._left
        seconds_left = left / rate if rate and left else None
        seconds = now - self._began
        return ItemState(self._name, self._number, self._phase, seconds, self.share, rate, seconds_left)

    @property
    def share(self) -> float | None:
        """Share of its cells that are done."""
        return None if self._total is None else min(1.0, (self._had + self._meter.cells) / max(1, self._total))

    @property
    def found(self) -> float:
        """Share of its cells that an earlier run did."""
        return self._had / max(1, self._total or 1)

    @property
    def _left(self) -> float | None:
        return None if self._total is None else max(0.0, self._total - self._had - self._meter.cells)


class Board:
    """Everything that is shown of a run. Its methods may be called from any thread."""

    def __init__(self, clock: Callable[[], float] = monotonic, memory: Callable[[], int] = memory_used) -> None:
        self.clock, self.lock = clock, RLock()
        self.meter = _Meter(clock())
        self._began: float | None = None
        self._places: list[Item | None] = []
        self._count = self._ended = self._failed = 0
        self._found = 0.0
        """Items that took no time, as the sum of their shares: an earlier run did them, or they failed."""
        self._memory, self._used, self._measured = memory, 0, -_REMEASURED

    def item(self, name: str, number: int = 1, count: int = 1) -> Item:
        """Put an item into the first free place: the `number`-th of `count`, or 0 for a step over all of them."""
        with self.lock:
            self._began = self.clock() if self._began is None else self._began
            self._count = max(self._count, count)
            item = Item(self, name, number)
            if None not in self._places:
                self._places.append(None)
            self._places[self._places.index(None)] = item
            return item

    def end(self, item: Item, how: Ending = "done") -> None:
        """Free the place of an item that has ended; one that is "held" is left to another run, and does not count."""
        with self.lock:
            self._places[self._places.index(item)] = None
            self._ended += how != "held"
            self._failed += how == "failed"
            self._found += {"done": item.found, "held": 0.0}.get(how, 1.0)

    def state(self) -> RunState:
        """Return how far the run is."""
        with self.lock:
            now = self.clock()
            if now - self._measured >= _REMEASURED:
                self._measured, self._used = now, self._memory()
            states = tuple(None if item is None else item.state(now) for item in self._places)
            share = self._share()
            rate, left = self.meter.rate(now), self._seconds_left(now, share)
            return RunState(self._count, self._ended, self._failed, share, rate, left, self._used, states)

    def _share(self) -> float:
        flying = sum(item.share or 0.0 for item in self._places if item is not None)
        return min(1.0, (self._ended + flying) / max(1, self._count))

    def _seconds_left(self, now: float, share: float) -> float | None:
        """Return the time that is left if the other items take as long as those before."""
        found = self._found + sum(item.found for item in self._places if item is not None)
        gained = share * max(1, self._count) - found
        if self._began is None or gained <= 0 or share >= 1:
            return None
        return (1 - share) * self._count * (now - self._began) / gained
