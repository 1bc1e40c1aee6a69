"""Observers: follow a run, and may stop it. A progress bar, an artifact of Prefect, or a user's own program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event
from time import monotonic

from pipeline.engine import SweepObserver
from pipeline.engine.ledger import Ledger
from pipeline.engine.observer import check_stop
from pipeline.geometry import Box, Lattice, split_runs
from pipeline.geometry.partition import patches_of
from pipeline.jobs.job import Job, Resources
from pipeline.runs.report import Report
from pipeline.runs.shared_workers import SharedWorkers

_PAUSE = 2.0
"""Seconds between two looks for marks that were made elsewhere, which may be requests."""


class Observer(SweepObserver):
    """Follows a run over one input or many, and may stop it.

    Every method does nothing here, so a subclass implements only those that it needs. They may be called from any
    thread.
    """

    def item(self, job: Job, number: int, count: int) -> Observer:
        """Return the observer of the next item, the `number`-th of `count`; it also decides whether that item stops."""
        return self

    def step(self, name: str) -> Observer:
        """Return the observer of a step over all items together."""
        return self

    def started(self, cells: int, done: int) -> None:
        """Called with the cells of an item, and how many of them an earlier run did."""

    def phase(self, name: str) -> None:
        """Called when the next phase of an item begins: reading, segmenting, writing."""

    def advanced(self, cells: float) -> None:
        """Called with the number of cells that were just done."""

    def note(self, line: str) -> None:
        """Called with a message for the user."""

    def remark(self, report: Report) -> None:
        """Called with a report whose reason is for the user, though the item has not ended."""

    def finished(self, report: Report) -> None:
        """Called when an item has ended, however it ended."""

    def known(self, report: Report) -> None:
        """Called with the report of an item that is skipped."""


SILENT = Observer()
"""Follows nothing and stops nothing."""


class Relay(Observer):
    """Passes everything about an item on to another observer: a base class for those that change some of it."""

    def __init__(self, to: Observer) -> None:
        self._to = to

    def started(self, cells: int, done: int) -> None:
        """Pass it on."""
        self._to.started(cells, done)

    def phase(self, name: str) -> None:
        """Pass it on."""
        self._to.phase(name)

    def advanced(self, cells: float) -> None:
        """Pass it on."""
        self._to.advanced(cells)

    def note(self, line: str) -> None:
        """Pass it on."""
        self._to.note(line)

    def patches_done(self, count: int) -> None:
        """Pass it on."""
        self._to.patches_done(count)

    def patches_repeated(self, count: int) -> None:
        """Pass it on."""
        self._to.patches_repeated(count)

    def slab_done(self, slab: Box) -> None:
        """Pass it on."""
        self._to.slab_done(slab)

    def should_stop(self) -> bool:
        """Ask the other."""
        return self._to.should_stop()


class Stoppable(Relay):
    """Stops once an event is set, or if the other observer says so."""

    def __init__(self, to: Observer, stop: Event) -> None:
        super().__init__(to)
        self._stop = stop

    def should_stop(self) -> bool:
        """Return whether the event is set, or the other observer says so."""
        return self._stop.is_set() or super().should_stop()


class Renamed(Relay):
    """Passes notes on with other names in them."""

    def __init__(self, to: Observer, rename: Callable[[str], str]) -> None:
        super().__init__(to)
        self._rename = rename

    def note(self, line: str) -> None:
        """Pass it on, renamed."""
        super().note(self._rename(line))


class RepeatCounter(Relay):
    """Counts the patches of a run, and those that were not computed because their values had been seen before."""

    def __init__(self, to: Observer) -> None:
        super().__init__(to)
        self._done = self._repeated = 0

    @property
    def share(self) -> float | None:
        """Share of the patches that were not computed; None if none was followed, as those of workers are not."""
        return self._repeated / self._done if self._done else None

    def patches_done(self, count: int) -> None:
        """Count, and pass it on."""
        self._done += count
        super().patches_done(count)

    def patches_repeated(self, count: int) -> None:
        """Count, and pass it on."""
        self._repeated += count
        super().patches_repeated(count)


class PatchProgress(Relay):
    """Follows the sweep of the slabs `todo` by patches, each of which counts as its share of their cells."""

    def __init__(self, to: Observer, lattice: Lattice, todo: Sequence[Box]) -> None:
        super().__init__(to)
        self._share = sum(slab.size for slab in todo) / max(1, patches_of(lattice, split_runs(todo, 1)))

    def patches_done(self, count: int) -> None:
        """Pass it on, and the cells too."""
        super().patches_done(count)
        self.advanced(count * self._share)


class LedgerProgress:
    """Follows the slabs `todo` that other processes sweep, by what they record in the ledger."""

    def __init__(
        self, ledger: Ledger, todo: Sequence[Box], observer: Observer, gather: Callable[[], None] = lambda: None
    ) -> None:
        """Follow `todo`; `gather` gets the marks of the ledger that were made elsewhere."""
        self._ledger, self._todo, self._observer, self._gather = ledger, list(todo), observer, gather
        self._gathered = -_PAUSE

    def look(self) -> None:
        """Pass on the cells that were done since the last look.

        Raises:
            Interrupted: If the run is to stop.

        """
        check_stop(self._observer)
        if monotonic() - self._gathered >= _PAUSE:
            self._gather()
            self._gathered = monotonic()
        done = self._ledger.done(self._todo)
        self._todo = [slab for slab in self._todo if slab not in done]
        self._observer.advanced(sum(slab.size for slab in done))


@dataclass(frozen=True)
class RunContext:
    """How a run is computed and who follows it: nothing here decides a byte."""

    resources: Resources = Resources()
    observer: Observer = SILENT
    workers: SharedWorkers | None = None
    """Workers that this run shares with others; None: its own."""
