"""Show the progress of a run on a terminal, and its results at the end."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from threading import Event
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.text import Text

from pipeline.archive.pseudonyms import pseudonym, without_names
from pipeline.cli.tables import TextTable, fits, print_json, print_table, shared_folder, table_of
from pipeline.display.progress import Progress
from pipeline.errors import counted
from pipeline.files.visible import visible
from pipeline.runs.observer import Observer

if TYPE_CHECKING:
    from pipeline.jobs.job import Job
    from pipeline.runs.report import Report

_LISTED = 50
"""Maximum number of items in the list of results; beyond it, only counts and failures are printed."""


class Screen(Progress):
    """The progress of a run on stderr; it also handles the signals that stop a run, and tells what failed."""

    def __init__(
        self,
        *,
        quiet: bool,
        stop_on_signals: bool,
        hash_names: bool = False,
        as_json: bool = False,
        every: float | None = None,
    ) -> None:
        super().__init__(quiet=quiet, as_json=as_json, every=every)
        self._stop = Event()
        self._hash_names = hash_names
        self._signals = (signal.SIGINT, signal.SIGTERM) if stop_on_signals else ()
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        self._before = [signal.signal(number, self._on_signal) for number in self._signals]
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, where)
        for number, handler in zip(self._signals, self._before, strict=True):
            signal.signal(number, handler)

    def should_stop(self) -> bool:
        """Return whether a signal has arrived."""
        return self._stop.is_set()

    def name_of(self, job: Job) -> str:
        """Return the name of an item, or its pseudonym."""
        return pseudonym(job.name) if self._hash_names else job.name

    def finished(self, report: Report) -> None:
        """Take the item away, and tell a failure at once."""
        super().finished(report)
        self.known(report)

    def known(self, report: Report) -> None:
        """Tell of an item that is skipped only if it failed before."""
        if report.status == "failed":
            self.surface.say(f"failed: {self._shown(report).reason}", "red")

    def remark(self, report: Report) -> None:
        """Show a reason."""
        super().remark(self._shown(report))

    def _shown(self, report: Report) -> Report:
        return without_names(report) if self._hash_names else report

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt
        self._stop.set()
        self.surface.say("stopping after the current patch; interrupt again to stop immediately")


class Notes(Observer):
    """An observer that writes notes to stderr, and nothing else."""

    def note(self, line: str) -> None:
        """Write a line."""
        sys.stderr.write(f"{visible(line)}\n")


def print_failure(report: Report) -> None:
    """Print why an item failed, if it did, in one line on stderr."""
    if report.status == "failed":
        Console(stderr=True).print(Text(f"failed: {visible(report.reason)}", style="red"), soft_wrap=True)


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
    table = _results(reports, [(report.input, report.output or "") for report in reports], "input", "output")
    if fits(table):
        print_table(table)
    else:
        _print_narrow(reports)
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


def _print_narrow(reports: Sequence[Report]) -> None:
    """Print only the mask of each item, or its input if there is none, relative to the folder that they share."""
    names = [report.output if report.output and not report.missing else report.input for report in reports]
    folder = shared_folder(names)
    if folder:
        sys.stdout.write(f"in {visible(folder)}\n")
    print_table(_results(reports, [(name.removeprefix(folder),) for name in names], "output"))


def _results(reports: Sequence[Report], names: Sequence[tuple[str, ...]], *columns: str) -> TextTable:
    table = table_of(*columns, "status", "Mpx", "s", "Mpx/s")
    for report, named in zip(reports, names, strict=True):
        rate = f"{report.cells / 1e6 / report.seconds:.2f}" if report.status == "done" and report.seconds else ""
        table.add_row(*named, report.status, f"{report.cells / 1e6:.1f}", f"{report.seconds:.1f}", rate)
    return table
