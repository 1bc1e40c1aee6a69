"""Run the command, follow it line by line, and stop it as Ctrl-C does."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from queue import Empty, Queue
from typing import IO

from .errors import CommandError

_POLL = 0.1
"""Seconds between two looks at whether to stop."""
WINDOWS = os.name == "nt"


@dataclass(frozen=True)
class Ended:
    """How a process has ended."""

    code: int
    out: str
    err: str
    stopped: bool = False
    """Whether it was asked to stop."""


@dataclass(frozen=True)
class Patience:
    """Seconds after the first request to stop at which the next, harder one is made."""

    again: float = 30.0
    """SIGTERM, upon which a run does not wait for the patch; where Ctrl-C was ignored, it is not."""
    kill: float = 60.0
    """The end of the process. What was written before is kept even then."""


def follow(
    words: Sequence[str],
    environment: Mapping[str, str],
    on_line: Callable[[str], object] = lambda line: None,
    should_stop: Callable[[], bool] = lambda: False,
    patience: Patience = Patience(),
) -> Ended:
    """Run a command to its end.

    Args:
        words: The command and its arguments; no shell reads them.
        environment: All of its environment variables.
        on_line: Called with each line of stderr, in this thread.
        should_stop: Asked every tenth of a second.
        patience: When a process that does not stop is asked again.

    Raises:
        CommandError: If it cannot be started.

    """
    process = _start(words, environment)
    lines: Queue[str] = Queue()
    out: list[str] = []
    err: list[str] = []
    readers = [_reader(process.stdout, out.append), _reader(process.stderr, lines.put)]
    stopping = _Stopping(process, patience)
    while any(reader.is_alive() for reader in readers) or not lines.empty():
        _pass_on(lines, err, on_line)
        if should_stop():
            stopping.ask()
    return Ended(process.wait(), "".join(out), "".join(err), stopping.asked)


def _start(words: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    flags: int = subprocess.CREATE_NO_WINDOW if WINDOWS else 0  # type: ignore[attr-defined,unused-ignore]
    try:
        return subprocess.Popen(
            list(words),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            creationflags=flags,
        )
    except OSError as error:
        raise CommandError(f"{words[0]} cannot be started: {error.strerror or error}") from None


def _reader(stream: IO[str] | None, take: Callable[[str], object]) -> threading.Thread:
    def read() -> None:
        with stream or nullcontext(()) as lines:
            for line in lines:
                take(line)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def _pass_on(lines: Queue[str], err: list[str], on_line: Callable[[str], object]) -> None:
    """Keep the next line, and show it."""
    with suppress(Empty):
        err.append(lines.get(timeout=_POLL))
        on_line(err[-1])


class _Stopping:
    """Asks a process to stop: as Ctrl-C does, then by SIGTERM, and at last ends it."""

    def __init__(self, process: subprocess.Popen[str], patience: Patience) -> None:
        self._process = process
        self._steps = [(0.0, self._interrupt), (patience.again, process.terminate), (patience.kill, process.kill)]
        self._began: float | None = None

    @property
    def asked(self) -> bool:
        """Whether it was asked at all."""
        return self._began is not None

    def ask(self) -> None:
        """Take the next step if its time has come."""
        self._began = time.monotonic() if self._began is None else self._began
        if self._steps and time.monotonic() - self._began >= self._steps[0][0] and self._process.poll() is None:
            self._steps.pop(0)[1]()

    def _interrupt(self) -> None:
        """Windows has no Ctrl-C for a process without a console; a run that is ended there can be resumed, too."""
        if WINDOWS:
            self._process.terminate()
        else:
            self._process.send_signal(signal.SIGINT)
