"""Processes of the window, which never waits for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qgis.PyQt.QtCore import QObject, QProcess, QProcessEnvironment

from .logic.process import Ended
from .settings import variables

_NOT_STARTED = 127


class Background(QObject):
    """Runs one command at a time, and says when it has ended."""

    def __init__(self, on_end: Callable[[Ended], object], on_output: Callable[[str], object] | None = None) -> None:
        super().__init__()
        self._on_end, self._on_output = on_end, on_output
        self._out = self._err = ""
        self._stopped = False
        self._process = QProcess(self)
        self._process.setProcessEnvironment(_environment())
        self._process.readyReadStandardOutput.connect(self._read)
        self._process.readyReadStandardError.connect(self._read)
        self._process.finished.connect(self._finish)
        self._process.errorOccurred.connect(self._fail)

    @property
    def running(self) -> bool:
        """Whether a command is running."""
        return self._process.state() != QProcess.NotRunning

    def start(self, words: Sequence[str]) -> None:
        """Start a command."""
        self._out = self._err = ""
        self._stopped = False
        self._process.start(words[0], list(words[1:]))

    def stop(self) -> None:
        """End the command."""
        self._stopped = True
        self._process.kill()

    def _read(self) -> None:
        out = bytes(self._process.readAllStandardOutput()).decode("utf-8", "replace")
        err = bytes(self._process.readAllStandardError()).decode("utf-8", "replace")
        self._out, self._err = self._out + out, self._err + err
        if self._on_output is not None and out + err:
            self._on_output(out + err)

    def _finish(self, code: int, status: QProcess.ExitStatus) -> None:
        self._read()
        self._on_end(Ended(code, self._out, self._err, self._stopped))

    def _fail(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.FailedToStart:
            self._on_end(Ended(_NOT_STARTED, "", self._process.errorString(), self._stopped))


def _environment() -> QProcessEnvironment:
    found = QProcessEnvironment()
    for name, value in variables().items():
        found.insert(name, value)
    return found
