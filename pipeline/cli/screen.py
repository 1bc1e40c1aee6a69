"""Show the progress of a run on a terminal, and its results at the end."""

from __future__ import annotations

import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from threading import Event, Thread
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from pipeline.archive.pseudonyms import pseudonym, without_names
from pipeline.errors import counted
from pipeline.files.visible import visible
from pipeline.runs.observer import Observer

if TYPE_CHECKING:
    from pipeline.jobs.job import Job
    from pipeline.runs.report import Report
from pipeline.cli.tables import print_json, print_table, table_of

_LISTED = 50
"""Maximum number of items in the list of results; beyond it, only counts and failures are printed."""


_EVERY = 25.0
"""Seconds between two lines of progress."""


class Screen(Observer):
    """A progress bar on stderr with rate and time left; it also handles the signals that stop a run.

    Where stderr is not a terminal, the progress is a line every `every` seconds.
    """

    def __init__(self, *, quiet: bool, stop_on_signals: bool, hash_names: bool = False, every: float = _EVERY) -> None:
        self._stop, self._ended, self._every = Event(), Event(), every
        self._hash_names = hash_names
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            _Rate(),
        )
        console = Console(stderr=True)
        self._quiet = quiet
        hidden = quiet or not console.is_terminal
        self._bar = Bar(*columns, TimeRemainingColumn(), console=console, disable=hidden, transient=True)
        self._teller = None if quiet or console.is_terminal else Thread(target=self._tell, daemon=True)
        self._signals = (signal.SIGINT, signal.SIGTERM) if stop_on_signals else ()
        self._before: list[Any] = []
        self._lines: defaultdict[str, list[TaskID]] = defaultdict(list)
        """Lines of items in flight, by the names of the items: the volumes of a 4-D file have one name."""

    def __enter__(self) -> Self:
        self._before = [signal.signal(number, self._on_signal) for number in self._signals]
        self._bar.start()
        if self._teller is not None:
            self._teller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._bar.stop()
        self._ended.set()
        for number, handler in zip(self._signals, self._before, strict=True):
            signal.signal(number, handler)

    def _tell(self) -> None:
        while not self._ended.wait(self._every):
            lines = [_progress_line(task) for task in self._bar.tasks if task.visible]
            self._bar.console.print(Text("\n".join(lines or ["still running"])), soft_wrap=True)

    def should_stop(self) -> bool:
        """Return whether a signal has arrived."""
        return self._stop.is_set()

    def item(self, job: Job, number: int, count: int) -> Observer:
        """Return a line for the next item."""
        name = pseudonym(job.name) if self._hash_names else job.name
        line = self._item(name, number, count)
        self._lines[job.name].append(line.task)
        return line

    def _item(self, name: str, number: int, count: int) -> _Line:
        return self._line(name) if count == 1 else self._line(f"{number}/{count} {name}", f"{name}: ")

    def step(self, name: str) -> Observer:
        """Return a line for a step over all items, shown once it begins."""
        return self._line(name, shown=False)

    def _line(self, name: str, before: str = "", *, shown: bool = True) -> _Line:
        task = self._bar.add_task(visible(name), total=None, visible=shown)
        return _Line(self, self._bar, name, task, before)

    def finished(self, report: Report) -> None:
        """Remove the item's line, and print a failure at once."""
        self._bar.remove_task(self._lines[report.input].pop(0))
        self.known(report)

    def known(self, report: Report) -> None:
        """Print an item that is skipped only if it failed before."""
        print_failure(without_names(report) if self._hash_names else report, self._bar.console)

    def note(self, line: str) -> None:
        """Print a line above the bar."""
        if not self._quiet:
            self._bar.console.print(Text(visible(line)), soft_wrap=True)

    def remark(self, report: Report) -> None:
        """Print a reason above the bar."""
        self.note((without_names(report) if self._hash_names else report).reason or "")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt
        self._stop.set()
        self._bar.console.print("stopping after the current patch; interrupt again to stop immediately")


class _Line(Observer):
    """A line of the bar, for one item or step."""

    def __init__(self, screen: Screen, bar: Bar, name: str, line: TaskID, before: str) -> None:
        self._screen, self._bar, self._name, self.task = screen, bar, name, line
        self._before = before

    def started(self, cells: int, done: int) -> None:
        self._bar.update(self.task, total=cells, completed=done, visible=True)

    def advanced(self, cells: float) -> None:
        self._bar.advance(self.task, cells)

    def phase(self, name: str) -> None:
        self._bar.update(self.task, description=visible(f"{self._name}: {name}"))

    def note(self, line: str) -> None:
        self._screen.note(self._before + line)

    def should_stop(self) -> bool:
        return self._screen.should_stop()


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(_rate(task))


def _rate(task: Task) -> str:
    return f"{task.speed / 1e6:.2f} Mpx/s" if task.speed else ""


def _progress_line(task: Task) -> str:
    """Return what the bar shows, in words."""
    if task.total is None:
        return f"{task.description}: {task.elapsed or 0:.0f} s"
    left = "" if task.time_remaining is None else f"{task.time_remaining:.0f} s left"
    return f"{task.description}: " + ", ".join(filter(None, [f"{task.percentage:.0f}%", _rate(task), left]))


class Notes(Observer):
    """An observer that writes notes to stderr, and nothing else."""

    def note(self, line: str) -> None:
        """Write a line."""
        sys.stderr.write(f"{visible(line)}\n")


def print_failure(report: Report, console: Console | None = None) -> None:
    """Print why an item failed, if it did, in one line on stderr."""
    if report.status == "failed":
        (console or Console(stderr=True)).print(Text(f"failed: {visible(report.reason)}", style="red"), soft_wrap=True)


def print_warnings(report: Report) -> None:
    """Print in what the input of an item is far from what its model was trained on, on stderr."""
    for remark in report.warnings:
        Console(stderr=True).print(Text(f"{report.input}: {remark}"), soft_wrap=True)


def print_reports(reports: Sequence[Report], *, as_json: bool) -> None:
    """Print one line per item, or `{"items": [...]}`."""
    if as_json:
        print_json({"items": [asdict(report) for report in reports]})
        return
    if len(reports) > _LISTED:
        counts = Counter(report.status for report in reports)
        sys.stdout.write(", ".join(f"{count} {status}" for status, count in sorted(counts.items())) + "\n")
    else:
        _print_table(reports)


def _print_table(reports: Sequence[Report]) -> None:
    """Print a line for each item; all that are skipped take one, unless there is only one item."""
    skipped = [report for report in reports if report.status == "skipped" and not report.missing]
    shown = [report for report in reports if len(reports) == 1 or report not in skipped]
    if shown:
        _print_lines(shown)
    if len(reports) > 1 and skipped:
        sys.stdout.write(f"{counted(len(skipped), 'item')} skipped: {visible(skipped[0].reason)}\n")


def _print_lines(reports: Sequence[Report]) -> None:
    table = table_of("input", "output", "status", "Mpx", "s", "Mpx/s")
    for report in reports:
        rate = f"{report.cells / 1e6 / report.seconds:.2f}" if report.status == "done" and report.seconds else ""
        numbers = (f"{report.cells / 1e6:.1f}", f"{report.seconds:.1f}", rate)
        table.add_row(report.input, report.output or "", report.status, *numbers)
    print_table(table)
    for report in reports:
        if report.seam_index is not None:
            sys.stdout.write(f"seam index {report.seam_index:.4f}: {visible(report.output)}\n")
        if report.disagreement is not None:
            sys.stdout.write(f"disagreement {report.disagreement:.4f}: {visible(report.output)}\n")
        if report.repeated:
            sys.stdout.write(
                f"{report.repeated:.0%} of the patches repeat others and were not computed: {visible(report.output)}\n"
            )
        if report.reason is not None and report.status == "skipped":
            sys.stderr.write(f"{visible(report.output)}: {visible(report.reason)}\n")
