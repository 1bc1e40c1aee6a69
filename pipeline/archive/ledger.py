"""The ledger of an archive: one row per item, in an SQLite file that several processes may share."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import RLock
from typing import Any, Literal, NamedTuple, get_args

from pipeline.errors import OutputError, RequestError

FORMAT = 1
"""Version of the tables."""
LEDGER_NAME = "archive.sqlite"
State = Literal["pending", "running", "done", "failed", "quarantined", "stale"]
_WAIT = 60.0
"""Seconds to wait while another process writes."""
_TABLES = f"""
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


class Row(NamedTuple):
    """What the ledger knows of an item."""

    input: str
    output: str | None
    state: State
    code: str | None
    """Kind of the reason, such as "unreadable"."""
    reason: str | None
    """Why it failed, for a person."""
    stamp: str | None
    """Size and modification time of the input when it was last checked."""
    content: str | None
    """SHA-256 of the input's bytes then."""
    recipe: str | None
    """Key of its recipe."""
    model: str | None
    """Name of the model that made it."""
    stale: bool
    """Whether there is a mask of an older version of the input, which may be replaced."""
    cells: int
    seconds: float
    tries: int
    changed: str
    """When the state was entered, UTC."""


@dataclass(frozen=True)
class Entry:
    """What is written when an item changes its state."""

    input: str
    output: str | None
    state: State
    code: str | None = None
    reason: str | None = None
    stamp: str | None = None
    content: str | None = None
    recipe: str | None = None
    model: str | None = None
    stale: bool = False
    cells: int = 0
    seconds: float = 0.0


class ArchiveLedger:
    """The ledger in one file. Each change is a transaction of its own; a crash loses none that was committed."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        """Open the ledger at `path`.

        Raises:
            RequestError: If there is none and it may not be created.
            OutputError: If it cannot be used.

        """
        self.path = path
        self._lock = RLock()
        if not create and not path.is_file():
            raise RequestError(f"{path}: no ledger here; give the file of a ledger, or its folder")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
            self._base.executescript(_TABLES)
        except sqlite3.DatabaseError as error:
            raise OutputError(f"{path}: cannot be used as a ledger ({error}); move it away to start over") from error
        except OSError as error:
            raise OutputError(f"{path}: the ledger cannot be written ({error.strerror})") from error
        self._check_format()

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def rows(self, states: Iterable[State] = ()) -> dict[str, Row]:
        """Return the rows by input; only those in `states`, if there are any."""
        chosen = tuple(states)
        marks = ", ".join("?" * len(chosen))
        query = f"SELECT {', '.join(Row._fields)} FROM items" + (f" WHERE state IN ({marks})" if chosen else "")
        with self._lock:
            return {row[0]: Row(*row) for row in self._base.execute(f"{query} ORDER BY input", chosen)}

    def enter(self, entries: Sequence[Entry]) -> None:
        """Write the states of items, all of them or none; each running item counts one try."""
        fields = tuple(Entry.__dataclass_fields__)
        setting = ", ".join(f"{name} = excluded.{name}" for name in fields[1:])
        with self._transaction():
            self._base.executemany(
                f"INSERT INTO items ({', '.join(fields)}, tries) VALUES ({', '.join('?' * len(fields))}, ?) "
                f"ON CONFLICT (input) DO UPDATE SET {setting}, tries = items.tries + excluded.tries, "
                "changed = CURRENT_TIMESTAMP",
                [(*(getattr(entry, name) for name in fields), int(entry.state == "running")) for entry in entries],
            )

    def set_volumes(self, item: str, volumes: Mapping[str, float]) -> None:
        """Replace the volumes of the structures of an item's mask, in milliliters."""
        with self._transaction():
            self._base.execute("DELETE FROM structures WHERE input = ?", (item,))
            self._base.executemany(
                "INSERT INTO structures VALUES (?, ?, ?)", [(item, name, ml) for name, ml in volumes.items()]
            )

    def volumes(self) -> dict[str, dict[str, float]]:
        """Return the volume of each structure in milliliters, for each finished item that is a volume."""
        found: dict[str, dict[str, float]] = {}
        query = "SELECT input, name, ml FROM structures JOIN items USING (input) WHERE state = 'done' ORDER BY 1, 2"
        with self._lock:
            for item, name, ml in self._base.execute(query):
                found.setdefault(item, {})[name] = ml
        return found

    def recipe(self, record: Mapping[str, Any]) -> str:
        """Store the record of a recipe, and return its key."""
        text = json.dumps(record, sort_keys=True)
        key = sha256(text.encode()).hexdigest()
        with self._transaction():
            self._base.execute("INSERT OR IGNORE INTO kept VALUES (?, ?)", (f"recipe {key}", text))
        return key

    def record(self, key: str) -> dict[str, Any]:
        """Return the record of a recipe."""
        with self._lock:
            found = self._base.execute("SELECT value FROM kept WHERE name = ?", (f"recipe {key}",)).fetchone()
        return dict(json.loads(found[0])) if found else {}

    def release(self, codes: Sequence[str]) -> int:
        """Set failed and quarantined items, of `codes` only if any, back to pending; return their number."""
        marks = ", ".join("?" * len(codes))
        chosen = f" AND code IN ({marks})" if codes else ""
        with self._transaction():
            changed = self._base.execute(
                "UPDATE items SET state = 'pending', changed = CURRENT_TIMESTAMP "
                f"WHERE state IN ('failed', 'quarantined'){chosen}",
                tuple(codes),
            )
        return changed.rowcount

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                with suppress(sqlite3.Error):
                    self._base.execute("ROLLBACK")
                raise
            self._base.execute("COMMIT")

    def _check_format(self) -> None:
        self._base.execute("INSERT OR IGNORE INTO kept VALUES ('format', ?)", (str(FORMAT),))
        found = self._base.execute("SELECT value FROM kept WHERE name = 'format'").fetchone()[0]
        if found != str(FORMAT):
            raise RequestError(f"{self.path}: is a ledger of format {found}, but this version reads {FORMAT}")
