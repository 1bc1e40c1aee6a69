"""The progress of a run, shown wherever it runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from itertools import chain
from threading import Event, Thread
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.text import Text

from pipeline.display.board import Board, Item
from pipeline.display.json_lines import EVERY as EACH_SECOND
from pipeline.display.json_lines import JsonLines
from pipeline.display.notebook import Cell, in_notebook
from pipeline.display.terminal import Bars
from pipeline.display.words import lines_of
from pipeline.files.visible import visible
from pipeline.jobs.job import Job
from pipeline.runs.observer import Observer
from pipeline.runs.report import HELD, Report

EVERY = 25.0
"""Seconds between two lines of progress."""


class Surface(Protocol):
    """Where progress is shown."""

    def start(self) -> None: ...  # noqa: D102
    def stop(self) -> None: ...  # noqa: D102
    def say(self, line: str, style: str = "") -> None: ...  # noqa: D102


class Progress(Observer):
    """Shows how far a run is: bars on a terminal or in a notebook, and a line every now and then elsewhere.

    It is a context: `with Progress() as progress: segment(job, observer=progress)`. To see the name of an item, and
    how many there are, give `progress.item(job, number, count)` as the observer instead. `as_json` prints lines of JSON
    on stderr, for another program.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False, every: float | None = None) -> None:
        self.board = Board()
        self.surface = _surface(self.board, every, quiet=quiet, as_json=as_json)
        self._quiet = quiet
        self._flying: defaultdict[str, list[_Line]] = defaultdict(list)
        """Items in flight, by their names: the volumes of a 4-D file have one name."""
        self._unnamed = _Line(self, lambda: self.board.item(""))

    def __enter__(self) -> Self:
        self.surface.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for line in (self._unnamed, *chain(*self._flying.values())):
            line.end()
        self.surface.stop()

    def item(self, job: Job, number: int, count: int) -> Observer:
        """Return what shows the next item."""
        item = self.board.item(self.name_of(job), number, count)
        line = _Line(self, lambda: item, f"{number}/{count} {self.name_of(job)}: " if count > 1 else "")
        line.begin()
        self._flying[job.name].append(line)
        return line

    def name_of(self, job: Job) -> str:
        """Return the name by which an item is shown."""
        return job.name

    def step(self, name: str) -> Observer:
        """Return what shows a step over all items, once it begins."""
        return _Line(self, lambda: self.board.item(name, 0))

    def finished(self, report: Report) -> None:
        """Take the item away."""
        line = self._flying[report.input].pop(0)
        self.board.end(line.begin(), "held" if report.code == HELD else report.status)

    def started(self, cells: int, done: int) -> None:
        """Show the only item."""
        self._unnamed.started(cells, done)

    def advanced(self, cells: float) -> None:
        """Show how far the only item is."""
        self._unnamed.advanced(cells)

    def phase(self, name: str) -> None:
        """Show the phase of the only item."""
        self._unnamed.phase(name)

    def note(self, line: str) -> None:
        """Show a message."""
        if not self._quiet:
            self.surface.say(line)

    def remark(self, report: Report) -> None:
        """Show a reason."""
        self.note(report.reason or "")


class _Line(Observer):
    """Shows an item or a step; it takes its place once it begins."""

    def __init__(self, progress: Progress, take: Callable[[], Item], before: str = "") -> None:
        self._progress, self._take, self._before = progress, take, before
        self._item: Item | None = None

    def begin(self) -> Item:
        self._item = self._item or self._take()
        return self._item

    def end(self) -> None:
        if self._item is not None:
            self._progress.board.end(self._item)

    def started(self, cells: int, done: int) -> None:
        self.begin().started(cells, done)

    def advanced(self, cells: float) -> None:
        self.begin().advanced(cells)

    def phase(self, name: str) -> None:
        self.begin().phase(name)

    def note(self, line: str) -> None:
        self._progress.note(self._before + line)

    def should_stop(self) -> bool:
        return self._progress.should_stop()


class _Lines:
    """Prints a board every so often, where there is no terminal."""

    def __init__(self, board: Board, console: Console, every: float) -> None:
        self._board, self._console, self._every = board, console, every
        self._ended = Event()
        self._teller = Thread(target=self._tell, daemon=True)

    def start(self) -> None:
        self._teller.start()

    def stop(self) -> None:
        self._ended.set()

    def say(self, line: str, style: str = "") -> None:
        self._console.print(Text(visible(line)), soft_wrap=True)

    def _tell(self) -> None:
        while not self._ended.wait(self._every):
            self._console.print(Text("\n".join(lines_of(self._board.state()))), soft_wrap=True)


class _Quiet:
    """Prints only what it is told to."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def say(self, line: str, style: str = "") -> None:
        self._console.print(Text(visible(line), style), soft_wrap=True)


def _surface(board: Board, every: float | None, *, quiet: bool, as_json: bool) -> Surface:
    console = Console(stderr=True, force_jupyter=False, highlight=False)
    if quiet:
        return _Quiet(console)
    if as_json:
        return JsonLines(board, EACH_SECOND if every is None else every)
    if in_notebook():
        return Cell(board)
    terminal = console.is_terminal and not console.is_dumb_terminal
    return Bars(board, console) if terminal else _Lines(board, console, EVERY if every is None else every)
