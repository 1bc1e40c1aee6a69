"""A terminal in memory: what a program writes to it is drawn by an emulator, so that a test sees what a person sees."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyte

BESIDE = 120
"""Columns of the emulator beside those that the program is told of: what lands there would have been wrapped."""


class Terminal(io.TextIOBase):
    """A terminal of `columns` and `rows`; each write is a frame. It takes the place of `sys.stderr`."""

    encoding = "utf-8"

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.columns = columns
        self._screen = pyte.Screen(columns + BESIDE, rows)
        self._stream = pyte.Stream(self._screen)
        self.frames: list[list[str]] = []
        self.written: list[str] = []

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.written.append(text)
        self._stream.feed(text.replace("\n", "\r\n"))
        self.frames.append(self.rows)
        return len(text)

    @property
    def rows(self) -> list[str]:
        """The rows from the top to the last one that is not empty."""
        shown = [line.rstrip() for line in self._screen.display]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    def wide(self) -> Sequence[str]:
        """All rows, of any frame, that are wider than the terminal."""
        return [row for frame in self.frames for row in frame if len(row) > self.columns]
