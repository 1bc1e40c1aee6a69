"""The tables of a ledger and their versions, in SQL that SQLite and PostgreSQL both read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol, get_args

from pipeline.archive.place import Opened
from pipeline.errors import RequestError

FORMAT = 2
"""Version of the tables; those of version 1 are extended when they are opened."""
State = Literal["pending", "running", "done", "failed", "quarantined", "stale"]
ITEMS = f"""
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS items (
  input TEXT PRIMARY KEY,
  output TEXT,
  state TEXT NOT NULL CHECK (state IN {get_args(State)}),
  code TEXT,
  reason TEXT,
  stamp TEXT,
  content TEXT,
  recipe TEXT,
  model TEXT,
  stale INTEGER NOT NULL DEFAULT 0,
  cells INTEGER NOT NULL DEFAULT 0,
  seconds REAL NOT NULL DEFAULT 0,
  tries INTEGER NOT NULL DEFAULT 0,
  changed TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS structures (
  input TEXT NOT NULL,
  name TEXT NOT NULL,
  ml REAL NOT NULL,
  PRIMARY KEY (input, name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS items_by_state ON items (state, code);
"""
_SINCE_2 = (
    "ALTER TABLE items ADD COLUMN holder TEXT",
    "CREATE TABLE IF NOT EXISTS outputs (input TEXT NOT NULL, path TEXT NOT NULL, stamp TEXT NOT NULL, "
    "sha256 TEXT NOT NULL, PRIMARY KEY (input, path)) WITHOUT ROWID",
    f"UPDATE kept SET value = '{FORMAT}' WHERE name = 'format'",
)
"""What version 2 added: who is working on an item, and size, time and SHA-256 of what was written."""


class Cursor(Protocol):
    """What a statement found or changed."""

    @property
    def rowcount(self) -> int:
        """Rows that were changed."""

    def fetchone(self) -> Any:  # noqa: ANN401  (a row)
        """Return the next row, or None."""


class Transaction(Protocol):
    """Changes that are written together, or not at all; `?` stands for a value in the statements of both databases."""

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Cursor:
        """Execute a statement."""

    def executemany(self, statement: str, values: Iterable[Sequence[Any]], /) -> object:
        """Execute a statement once for each of `values`."""


class Base(Protocol):
    """A database with the tables of a ledger, which several threads, processes or machines may use."""

    def close(self) -> None:
        """Close it."""

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows that a statement selects."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Return changes that are written together; no other transaction is at work meanwhile."""

    def beating(self, run: str) -> AbstractContextManager[None]:
        """Return a context in which the others see that a run is alive."""

    def living(self) -> frozenset[str] | None:
        """Return the runs that are alive; None: the database does not know, but their processes are to be found."""


def format_of(found: Sequence[Any] | None) -> str | None:
    """Return the version of the tables by the row that has it."""
    return str(found[0]) if found else None


def extend(base: Transaction, place: Opened) -> None:
    """Create the tables, or add to those of version 1.

    Raises:
        RequestError: If they are those of a later version.

    """
    for statement in filter(str.strip, ITEMS.split(";")):
        base.execute(statement)
    base.execute("INSERT INTO kept VALUES ('format', '1') ON CONFLICT DO NOTHING")
    found = format_of(base.execute(SELECT_FORMAT).fetchone())
    if found == "1":
        for statement in _SINCE_2:
            base.execute(statement)
    elif found != str(FORMAT):  # another process may have extended them meanwhile
        raise RequestError(f"{place}: is a ledger of format {found}, but this version reads up to {FORMAT}")


SELECT_FORMAT = "SELECT value FROM kept WHERE name = 'format'"
