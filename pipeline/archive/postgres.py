"""A ledger in PostgreSQL, which runs on several machines share. Only this module imports SQLAlchemy."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from threading import Event, Thread
from typing import Any

from sqlalchemy import URL, Connection, CursorResult, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from pipeline.archive.place import DatabaseUrl
from pipeline.archive.tables import FORMAT, SELECT_FORMAT, extend, format_of
from pipeline.errors import OutputError, RequestError
from pipeline.optional import need

BEAT, AGE = 5.0, 25.0
"""Seconds between two signs of life of a run, and after the last from which on it counts as dead, by the server's
clock."""
_WAIT, _TURN, _PATIENCE = 90.0, 1.0, 10
"""Seconds to wait for a server that does not answer any more, between two attempts, and for each of them."""
_TURNS = """SELECT set_config('lock_timeout', '90s', true),
set_config('idle_in_transaction_session_timeout', '60s', true),
pg_advisory_xact_lock(hashtext(current_schema()), 715827)"""
"""One transaction at a time, as in SQLite; a run that hangs in its own does not hold up the others for ever."""
_RUNS = "CREATE TABLE IF NOT EXISTS runs (name TEXT PRIMARY KEY, beat TIMESTAMPTZ NOT NULL)"
_BEAT = """INSERT INTO runs VALUES (?, clock_timestamp())
ON CONFLICT (name) DO UPDATE SET beat = excluded.beat"""
_DIALECT = {
    "?": "%s",
    "CURRENT_TIMESTAMP": "to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')",
    " WITHOUT ROWID": "",
    "INTEGER": "BIGINT",
    "REAL": "DOUBLE PRECISION",
    "input TEXT": 'input TEXT COLLATE "C"',
}
"""What PostgreSQL says instead of SQLite's words."""


class PostgresDatabase:
    """A PostgreSQL database with the tables of a ledger, in the first schema of its search path."""

    def __init__(self, place: DatabaseUrl, *, create: bool = True) -> None:
        """Connect, and create or extend the tables.

        Raises:
            RequestError: If it is the ledger of a later version, or there is none and it may not be created.
            OutputError: If it cannot be used.

        """
        need("postgres", f"--ledger {place}")
        self.place, self._open = place, False
        url = _url(place)
        self._secret = str(url.password or "")
        arguments = {"connect_timeout": _PATIENCE, "application_name": "pipeline"}
        self._engine: Engine = create_engine(url, pool_pre_ping=True, hide_parameters=True, connect_args=arguments)
        try:
            self._prepare(create=create)
        except BaseException:
            self._engine.dispose()
            raise
        self._open = True

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows that a statement selects, as psycopg has them: rows of SQLAlchemy take twice the time."""
        with self._connected() as connection:
            cursor = _Transaction(connection).execute(statement, values).cursor
            return [] if cursor is None else list(cursor.fetchall())

    @contextmanager
    def transaction(self) -> Iterator[_Transaction]:
        """Yield changes that are written together; others wait for their turn meanwhile."""
        with self._connected() as connection, connection.begin():
            connection.exec_driver_sql(_TURNS)
            yield _Transaction(connection)

    @contextmanager
    def beating(self, run: str) -> Iterator[None]:
        """Say every few seconds that a run is alive, until the block ends."""
        with self._in_words():
            self._beat(_BEAT, run)
        stop = Event()
        thread = Thread(target=self._keep_beating, args=(run, stop), name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            with suppress(SQLAlchemyError):
                self._beat("DELETE FROM runs WHERE name = ?", run)

    def living(self) -> frozenset[str]:
        """Return the runs that have said so lately."""
        found = self.query(f"SELECT name FROM runs WHERE beat > clock_timestamp() - interval '{AGE} s'")
        return frozenset(name for (name,) in found)

    def _keep_beating(self, run: str, stop: Event) -> None:
        while not stop.wait(BEAT):
            with suppress(SQLAlchemyError):
                self._beat(_BEAT, run)

    def _beat(self, statement: str, run: str) -> None:
        with self._engine.begin() as connection:
            _Transaction(connection).execute(statement, (run,))

    def _prepare(self, *, create: bool) -> None:
        found = self._format()
        if found is None and not create:
            raise RequestError(f"{self.place}: no ledger here; give the database of an archive that was begun")
        if found != str(FORMAT):
            with self.transaction() as base:
                extend(base, self.place)
                base.execute(_RUNS)

    def _format(self) -> str | None:
        """Return the version of the tables; None where there are none yet."""
        if self.query("SELECT to_regclass('kept')") == [(None,)]:
            return None
        return format_of(next(iter(self.query(SELECT_FORMAT)), None))

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with self._in_words(), self._connect() as connection:
            yield connection

    def _connect(self) -> Connection:
        """Connect; a server that has answered before is waited for."""
        began, told = time.monotonic(), False
        while True:
            try:
                return self._engine.connect()
            except OperationalError as error:
                if not self._open or time.monotonic() - began > _WAIT:
                    raise
                if not told:
                    sys.stderr.write(f"{self.place}: does not answer ({self._reason(error)}); waiting\n")
                    told = True
                time.sleep(_TURN)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            lost = isinstance(error, OperationalError)
            raise OutputError(
                f"{self.place}: the ledger cannot be {'reached' if lost else 'used'} ({self._reason(error)}); "
                + ("check its address, and the password in PIPELINE_LEDGER or PGPASSWORD" if lost else _WAY_OUT)
            ) from None
        except SQLAlchemyError as error:
            raise OutputError(f"{self.place}: the ledger cannot be used ({self._reason(error)}); {_WAY_OUT}") from None

    def _reason(self, error: SQLAlchemyError) -> str:
        """Return what the server said, in one line, without the password."""
        said = " ".join(str(getattr(error, "orig", None) or error).split())
        return said.replace(self._secret, "...") if self._secret else said


_WAY_OUT = "run the same command again, or give another --ledger"


@dataclass(frozen=True)
class _Transaction:
    _connection: Connection

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> CursorResult[Any]:
        return self._connection.exec_driver_sql(_in_dialect(statement), tuple(values) or None)

    def executemany(self, statement: str, values: Iterable[Sequence[Any]], /) -> None:
        if rows := list(map(tuple, values)):
            self._connection.exec_driver_sql(_in_dialect(statement), rows)


@lru_cache
def _in_dialect(statement: str) -> str:
    for ours, theirs in _DIALECT.items():
        statement = statement.replace(ours, theirs)
    return statement


def _url(place: DatabaseUrl) -> URL:
    """Return the address as SQLAlchemy has it."""
    try:
        url = make_url(place.whole)
    except (ArgumentError, ValueError):
        raise RequestError(
            f"{place}: is not the address of a database; it is postgresql://user@host/database, and special characters "
            "of a password are encoded: / as %2F, @ as %40"
        ) from None
    return url.set(drivername="postgresql+psycopg")
