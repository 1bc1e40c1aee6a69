"""Progress for another program: a line of JSON for each state and each message."""

from __future__ import annotations

import json
import sys
from threading import Event, Thread
from typing import Any

from pipeline.display.board import Board, ItemState, RunState
from pipeline.display.words import flying

EVERY = 1.0
"""Seconds between two states."""


def state_record(run: RunState) -> dict[str, Any]:
    """Return how far a run is, as it is printed."""
    return {
        "event": "progress",
        "count": run.count,
        "ended": run.ended,
        "failed": run.failed,
        "share": run.share,
        "cells_per_second": run.rate,
        "seconds_left": run.seconds_left,
        "memory_bytes": run.memory,
        "items": [_item_record(item) for item in flying(run)],
    }


def _item_record(item: ItemState) -> dict[str, Any]:
    return {
        "name": item.name,
        "number": item.number,
        "phase": item.phase,
        "share": item.share,
        "cells_per_second": item.rate,
        "seconds": item.seconds,
        "seconds_left": item.seconds_left,
    }


class JsonLines:
    """Prints a board on stderr every so often, and once more at the end."""

    def __init__(self, board: Board, every: float = EVERY) -> None:
        self._board, self._every = board, every
        self._ended = Event()
        self._teller = Thread(target=self._tell, daemon=True)

    def start(self) -> None:
        """Begin to print."""
        self._teller.start()

    def stop(self) -> None:
        """Print the last state."""
        self._ended.set()
        self._teller.join()
        self._print_state()

    def say(self, line: str, style: str = "") -> None:
        """Print a message."""
        _print({"event": "message", "text": line})

    def _tell(self) -> None:
        while not self._ended.wait(self._every):
            self._print_state()

    def _print_state(self) -> None:
        _print(state_record(self._board.state()))


def _print(record: dict[str, Any]) -> None:
    """Print a record in one call, so that lines of several threads do not mix."""
    sys.stderr.write(json.dumps(record) + "\n")
