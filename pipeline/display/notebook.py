"""Bars in a notebook. With IPython, where it runs.

The bars are HTML, which every notebook shows; nothing has to be installed into it.
"""

from __future__ import annotations

import sys
from collections import deque
from threading import Event, Thread
from typing import Any

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
from pipeline.files.html import element, escaped

_EVERY = 0.5
"""Seconds between two updates."""
_LISTED = 20
"""Items, and messages, that are shown at most."""


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def html_of(run: RunState, said: tuple[str, ...] = ()) -> str:
    """Return the bars of a run, and the last messages below them."""
    rows = [_item(item) for item in list(flying(run))[:_LISTED]]
    facts = (failed_text(run), rate_text(run.rate), memory_text(run))
    if run.count > 1 or (run.ended and not rows):
        rows.insert(0, _bar(count_text(run), run.share, percent(run.share), left_text(run.seconds_left), *facts))
    more = len(list(flying(run))) - _LISTED
    words = [*([f"and {more} more"] if more > 0 else []), *said]
    return element("div", "".join([*rows, *(element("div", escaped(line)) for line in words)]), style="font-size:90%")


def _item(item: ItemState) -> str:
    name = ": ".join(filter(None, [item.name, phase_text(item)]))
    return _bar(name, item.share, percent(item.share), time_text(item), rate_text(item.rate))


def _bar(name: str, share: float | None, *facts: str) -> str:
    bar = '<progress max="1" style="width:16em;vertical-align:middle"></progress>'
    known = bar if share is None else bar.replace(" max", f' value="{share:.3f}" max', 1)
    return element("div", f"{known} {escaped(name)} {escaped(', '.join(filter(None, facts)))}")


class Cell:
    """Shows a board in the output of a cell."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._said: deque[str] = deque(maxlen=_LISTED)
        self._ended = Event()
        self._teller = Thread(target=self._tell, daemon=True)
        self._shown: Any = None

    def start(self) -> None:
        """Begin to show."""
        from IPython.display import HTML, display

        self._shown = display(HTML(html_of(self._board.state())), display_id=True)
        self._teller.start()

    def stop(self) -> None:
        """Show the last state."""
        self._ended.set()
        self._teller.join()
        self._update()

    def say(self, line: str, style: str = "") -> None:
        """Show a message below the bars."""
        self._said.append(line)

    def _tell(self) -> None:
        while not self._ended.wait(_EVERY):
            self._update()

    def _update(self) -> None:
        from IPython.display import HTML

        self._shown.update(HTML(html_of(self._board.state(), tuple(self._said))))
