"""The SQLite file of a ledger: waiting for other processes, and errors in words."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from threading import RLock
from typing import Any

from pipeline.archive.tables import FORMAT, SELECT_FORMAT, extend, format_of
from pipeline.errors import OutputError
from pipeline.files.process import users_of

_WAIT, _NOTICE, _TURN = 90.0, 5.0, 1.0
"""Seconds to wait while another process writes, until the wait is told, and between two looks for an interrupt."""
_LITTLE = 1 << 20
"""Free bytes of a disk that is full."""
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_FOREIGN = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
_OF_DISK = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
_PRIMARY = 0xFF
"""Bits of an error code that say its kind."""


class Database:
    """An SQLite file with the tables of a ledger, which several threads and processes may use."""

    def __init__(self, path: Path) -> None:
        """Open the file, and create or extend its tables.

        Raises:
            RequestError: If it is the ledger of a later version.
            OutputError: If it cannot be used, or another process does not let go of it.

        """
        self.path = path
        self._lock = RLock()
        with self._in_words():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, timeout=_TURN, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self._base.close()
                raise

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows that a statement selects."""
        with self._lock, self._in_words():
            rows: list[tuple[Any, ...]] = self._patiently(lambda: self._base.execute(statement, values).fetchall())
            return rows

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection whose changes are written together, or not at all."""
        with self._lock, self._in_words():
            self._patiently(lambda: self._base.execute("BEGIN IMMEDIATE"))
            try:
                yield self._base
                self._patiently(lambda: self._base.execute("COMMIT"))
            except BaseException:
                with suppress(sqlite3.Error):
                    self._base.execute("ROLLBACK")
                raise

    def beating(self, run: str) -> AbstractContextManager[None]:
        """Return a context without a sign of life: others look for the process."""
        return nullcontext()

    def living(self) -> frozenset[str] | None:
        """Return None: which runs are alive is to be seen by their processes."""
        return None

    def _prepare(self) -> None:
        if self._patiently(self._format) != str(FORMAT):
            with self.transaction() as base:
                extend(base, self.path)

    def _format(self) -> str | None:
        """Return the version of the tables; None where there are none yet."""
        if not self._base.execute("SELECT 1 FROM sqlite_master WHERE name = 'kept'").fetchone():
            return None
        return format_of(self._base.execute(SELECT_FORMAT).fetchone())

    def _patiently(self, call: Callable[[], Any]) -> Any:  # noqa: ANN401  (what it returns)
        """Call again and again while another process holds the file."""
        began, told = time.monotonic(), False
        while True:
            try:
                return call()
            except sqlite3.OperationalError as error:
                waited = time.monotonic() - began
                if _kind(error) not in _BUSY or waited > _WAIT:
                    raise
                if waited > _NOTICE and not told:
                    sys.stderr.write(f"{self.path}: is locked by {self._others()}; waiting\n")
                    told = True

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise OutputError(f"{self.path}: {self._reason(error)}") from error
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(f"{self.path}: the ledger cannot be written ({error.strerror})") from error

    def _reason(self, error: sqlite3.Error) -> str:
        kind = _kind(error)
        if kind in _BUSY:
            return f"the ledger is locked by {self._others()}; wait for it or stop it, and run the same command again"
        if kind == sqlite3.SQLITE_FULL or (kind in _OF_DISK and _free(self.path.parent) < _LITTLE):
            return "the ledger cannot be written: its disk is full; free some space and run the same command again"
        if kind in _FOREIGN:
            return f"cannot be used as a ledger ({error}); move it away to start over, or give another --ledger"
        if kind == sqlite3.SQLITE_READONLY or not os.access(self.path.parent, os.W_OK):
            return f"the ledger cannot be written ({error}); give another --ledger"
        return f"the ledger cannot be used ({error}); run the same command again, or look at its disk"

    def _others(self) -> str:
        """Return who has the file open, besides this process."""
        return ", ".join(map(str, users_of(self.path))) or "another process"


def _kind(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY


def _free(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return _LITTLE
