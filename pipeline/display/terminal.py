"""Bars on a terminal. With Rich.

A row never takes more than a line, and an item keeps its place, so that nothing on the screen jumps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from pipeline.display.board import Board, ItemState, RunState
from pipeline.display.words import (
    count_text,
    failed_text,
    flying,
    left_text,
    memory_text,
    percent,
    phase_text,
    rate_text,
    time_text,
)
from pipeline.files.visible import visible

_PER_SECOND = 4.0
"""How often the screen is drawn."""
_PHASE, _PERCENT, _RATE, _TIME, _MEMORY, _FAILED = 10, 4, 12, 11, 15, 8
"""Columns of the parts of a row."""
_BAR, _GAP = 8, 2
"""Columns of a bar at least, and between two parts."""
_NARROW = 60
"""Columns below which names have a row of their own."""
_KEPT = 4
"""Rows of the terminal that are left for what was there before."""


class _Fact(NamedTuple):
    text: str
    columns: int
    style: str = ""


@dataclass(frozen=True)
class Frame:
    """What rows are drawn for."""

    width: int
    height: int
    plain: bool = False
    """Whether the terminal shows ASCII alone."""


def rows_of(run: RunState, frame: Frame, *, stacked: bool = False) -> list[Text]:
    """Return the rows that show a run, each at most as wide as the frame; `stacked`: names have rows of their own."""
    if run.count <= 1:
        return [row for item in flying(run) for row in _alone(item, run, frame)]
    head = list(_all_of_it(run, frame))
    each = 2 if stacked else 1
    room = max(1, (frame.height - _KEPT - len(head)) // each)
    places = run.items if len(run.items) <= room else [*flying(run)][:room]
    shown = [row for item in places for row in _item_rows(item, frame, stacked=stacked)]
    more = len([*flying(run)]) - len([item for item in places if item is not None])
    return [*head, *shown, *([Text(f"and {more} more", "dim")] if more > 0 else [])]


def needs_rows(run: RunState, frame: Frame) -> bool:
    """Return whether a name is too long to stand beside its bar."""
    beside = _beside(frame)
    return frame.width < _NARROW or any(cell_len(_last(visible(item.name))) > beside for item in flying(run))


def fit(name: str, columns: int) -> str:
    """Return a name in at most so many columns: of a path, the last parts that fit; of a longer part, its end.

    >>> fit("archive/2024/ct-017.nii.gz", 24), fit("scene.tif", 20), fit("a/sub-01_ses-02_T1w.nii.gz", 16)
    ('…/2024/ct-017.nii.gz', 'scene.tif', '…s-02_T1w.nii.gz')
    """
    if cell_len(name) <= columns:
        return name
    parts = name.split("/")
    tails = (f"…/{'/'.join(parts[first:])}" for first in range(1, len(parts)))
    return next((tail for tail in tails if cell_len(tail) <= columns), f"…{_end(parts[-1], columns - 1)}")


def _end(text: str, columns: int) -> str:
    while cell_len(text) > max(0, columns):
        text = text[1:]
    return text


def _last(name: str) -> str:
    return name if "/" not in name else f"…/{name.rpartition('/')[2]}"


def _beside(frame: Frame) -> int:
    """Return the columns of a name beside its bar."""
    return (frame.width - _PHASE - _PERCENT - _TIME - 3 * _GAP) * 3 // 4


def _alone(item: ItemState, run: RunState, frame: Frame) -> Iterator[Text]:
    """Yield the rows of the only item: its name, and below it how far it is."""
    if item.name:
        yield _row(Text(fit(visible(item.name), frame.width)), frame)
    facts = [*_facts(item), _Fact(memory_text(run), _MEMORY), _Fact(rate_text(item.rate), _RATE)]
    yield _bar_row(_padded(phase_text(item), _PHASE), item.share, facts, frame)


def _all_of_it(run: RunState, frame: Frame) -> Iterator[Text]:
    """Yield the rows of all items together."""
    facts = [_Fact(percent(run.share), _PERCENT), _Fact(left_text(run.seconds_left), _TIME)]
    yield _bar_row(Text(count_text(run), "bold"), run.share, facts, frame)
    below = [_Fact(failed_text(run), _FAILED, "bold red" if run.failed else ""), _Fact(memory_text(run), _MEMORY)]
    below.append(_Fact(rate_text(run.rate), _RATE))
    yield _row(Text(" " * _GAP).join(_padded(*fact) for fact in below), frame)


def _item_rows(item: ItemState | None, frame: Frame, *, stacked: bool) -> Iterator[Text]:
    if item is None:
        yield from [Text()] * (2 if stacked else 1)
        return
    name, phase = visible(item.name), _padded(phase_text(item), _PHASE)
    if stacked:
        yield _row(Text(fit(name, frame.width)), frame)
        yield _bar_row(Text("  ") + phase, item.share, _facts(item), frame)
    else:
        lead = _padded(fit(name, _beside(frame)), _beside(frame))
        yield _bar_row(lead + Text(" ") + phase, item.share, _facts(item), frame)


def _facts(item: ItemState) -> list[_Fact]:
    return [_Fact(percent(item.share), _PERCENT), _Fact(time_text(item), _TIME)]


def _bar_row(lead: Text, share: float | None, facts: Sequence[_Fact], frame: Frame) -> Text:
    """Return a bar between what it is of and facts; where there is no room for all, the last ones are left out."""
    kept = list(facts)
    while kept and frame.width - lead.cell_len - 1 - _columns(kept) < _BAR:
        kept.pop()
    bar = _bar(share, frame.width - lead.cell_len - 1 - _columns(kept), frame)
    right = [Text(" " * _GAP) + _padded(*fact, right=True) for fact in kept]
    return _row(Text(" ").join([lead, bar]) + Text().join(right), frame)


def _columns(facts: Sequence[_Fact]) -> int:
    return sum(max(fact.columns, cell_len(fact.text)) + _GAP for fact in facts)


def _bar(share: float | None, columns: int, frame: Frame) -> Text:
    done, left = "#-" if frame.plain else "━─"
    filled = int((share or 0.0) * max(0, columns))
    return Text(done * filled, "green") + Text(left * (columns - filled), "bright_black")


def _padded(text: str, columns: int, style: str = "", *, right: bool = False) -> Text:
    space = " " * (columns - cell_len(text))
    return Text(space if right else "") + Text(text, style) + Text("" if right else space)


def _row(text: Text, frame: Frame) -> Text:
    """Return a row that is cut rather than wrapped."""
    text.no_wrap, text.overflow = True, "crop"
    text.truncate(frame.width)
    if frame.plain:
        text.plain = text.plain.replace("…", "~")
    text.rstrip()
    return text


class Bars:
    """Draws a board on a terminal, and takes it away at the end."""

    def __init__(self, board: Board, console: Console) -> None:
        self._board, self.console = board, console
        self._stacked = False
        self._live = Live(console=console, refresh_per_second=_PER_SECOND, transient=True, get_renderable=self._drawn)

    def start(self) -> None:
        """Begin to draw."""
        self._live.start()

    def stop(self) -> None:
        """Take the rows away."""
        self._live.stop()

    def say(self, line: str, style: str = "") -> None:
        """Print a line above the rows; one that is too long is folded between words."""
        self.console.print(Text(visible(line), style))

    def _drawn(self) -> Group:
        run = self._board.state()
        plain = self.console.options.ascii_only
        frame = Frame(self.console.width, self.console.height, plain)
        self._stacked = self._stacked or needs_rows(run, frame)
        return Group(*rows_of(run, frame, stacked=self._stacked))
