"""What the command prints: lines of progress and messages on stderr, and one JSON document on stdout."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .process import Ended

_FRAME = "│╭╮╰╯─┃┏┓┗┛━ \t"
_ERROR = "error: "
_KILLED = (
    "the command was ended from outside (signal {}), perhaps because memory ran out; run it again with a memory limit "
    "(advanced parameters), and it goes on where it was"
)


@dataclass(frozen=True)
class Line:
    """A line of stderr."""

    text: str
    """For the user; of progress: the phase, the time that is left and the rate."""
    share: float | None = None
    """Of the run that is done, 0 to 1; None: the line is a message."""
    phase: str = ""
    """What is being done, of progress."""
    own: bool = False
    """Whether it is a record of the command; others are printed by libraries, or by Python itself."""


class Rarely:
    """Lets progress into the log once for each phase, and then once a minute."""

    def __init__(self, every: float = 60.0) -> None:
        self._every = every
        self._phase, self._told = "", float("-inf")

    def lets(self, line: Line, now: float) -> bool:
        """Return whether a line is to be logged at a time in seconds."""
        if not line.text or (line.phase == self._phase and now - self._told < self._every):
            return False
        self._phase, self._told = line.phase, now
        return True


def parse_line(line: str) -> Line | None:
    """Return what a line of stderr says, None if that is nothing.

    >>> parse_line('{"event": "message", "text": "resumed"}').text, parse_line("error: broken").text, parse_line(" ")
    ('resumed', 'error: broken', None)
    """
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict) or record.get("event") not in ("progress", "message"):
        return Line(line.rstrip()) if line.strip() else None
    if record["event"] == "message":
        return Line(str(record.get("text", "")), own=True)
    return _state_line(record)


def _state_line(record: Mapping[str, Any]) -> Line:
    """Return progress in words; of a run that has not begun, or has ended, the share alone."""
    items: Sequence[Mapping[str, Any]] = record.get("items") or []
    phase = (items[0].get("phase") or "preparing") if items else ""
    return Line(_state_text(record, phase) if phase else "", float(record.get("share") or 0.0), phase, own=True)


def _state_text(record: Mapping[str, Any], phase: str) -> str:
    left, rate = record.get("seconds_left"), record.get("cells_per_second")
    facts = [
        phase,
        "" if left is None else f"{duration_text(left)} left",
        "" if not rate else f"{rate / 1e6:.2f} Mpx/s",
    ]
    return ", ".join(filter(None, facts))


def duration_text(seconds: float) -> str:
    """Return a time in words.

    >>> duration_text(42.3), duration_text(300), duration_text(9000)
    ('42 s', '5 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def document(stdout: str) -> dict[str, Any]:
    """Return the JSON document on stdout; empty if there is none."""
    try:
        found = json.loads(stdout)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def error_text(ended: Ended, messages: Iterable[str]) -> str:
    """Return why a command has failed, in its own words.

    Args:
        ended: How it has ended: items on stdout that failed have a reason.
        messages: Lines of stderr that are no progress.

    """
    reasons = [str(item["reason"]) for item in _failed(document(ended.out)) if item.get("reason")]
    if ended.code < 0 and not reasons:
        return _KILLED.format(-ended.code)
    lines = [line.strip(_FRAME) for line in messages]
    errors = [line[len(_ERROR) :] for line in lines if line.startswith(_ERROR)]
    return "\n".join(reasons or errors or _usage(lines) or ["the command gave no reason"])


def _failed(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    items = [*(found.get("items") or []), *(found.get("failed") or [])]
    return [item for item in items if isinstance(item, dict) and item.get("status") == "failed"]


def _usage(lines: Sequence[str]) -> list[str]:
    """Return the last lines that are not Typer's frame around a wrong option."""
    shown = [line for line in lines if line and not re.match(r"(Usage:|Try |Error$)", line)]
    unknown = [line for line in shown if line.startswith(("No such option", "No such command"))]
    if unknown:
        return [f"{unknown[0]} The installed version of pipeline does not know it: update pipeline, or this plugin."]
    return shown[-3:]
