"""The ledger of an archive: one row per item, in an SQLite file that several processes may share."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.archive.database import Database, State
from pipeline.archive.outputs import MASK_CHANGED, Written
from pipeline.errors import RequestError

LEDGER_NAME = "archive.sqlite"


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
    holder: str | None
    """Who is working on it: `Holder` as text."""


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
    holder: str | None = None


class ArchiveLedger:
    """The ledger in one file. Each change is a transaction of its own; a crash loses none that was committed."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        """Open the ledger at `path`.

        Raises:
            RequestError: If there is none and it may not be created.
            OutputError: If it cannot be used.

        """
        if not create and not path.is_file():
            raise RequestError(f"{path}: no ledger here; give the file of a ledger, or its folder")
        self.path = path
        self._base = Database(path)

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def rows(self, states: Iterable[State] = ()) -> dict[str, Row]:
        """Return the rows by input; only those in `states`, if there are any."""
        chosen = tuple(states)
        marks = ", ".join("?" * len(chosen))
        query = f"{_SELECT}" + (f" WHERE state IN ({marks})" if chosen else "")
        return {row[0]: Row(*row) for row in self._base.query(f"{query} ORDER BY input", chosen)}

    def row(self, item: str) -> Row | None:
        """Return the row of an item, if there is one."""
        found = self._base.query(_OF_ITEM, (item,))
        return Row(*found[0]) if found else None

    def outputs(self, item: str | None = None) -> dict[str, tuple[Written, ...]]:
        """Return what was written for each item, or for one of them."""
        found: dict[str, tuple[Written, ...]] = {}
        chosen = "" if item is None else " WHERE input = ?"
        query = f"SELECT input, path, stamp, sha256 FROM outputs{chosen} ORDER BY input, path"
        for name, *written in self._base.query(query, () if item is None else (item,)):
            found[name] = (*found.get(name, ()), Written(*written))
        return found

    def made(self, path: str) -> tuple[Row | None, tuple[Written, ...]]:
        """Return the item that a file belongs to, and all that was written for it."""
        found = self._base.query("SELECT input FROM outputs WHERE path = ?", (path,))
        item = found[0][0] if found else ""
        return self.row(item), self.outputs(item).get(item, ())

    def judge(self, row: Row, reason: str | None) -> None:
        """Write whether the mask of a finished item is as it was written; `reason` is what is wrong with it."""
        state, code = ("done", None) if reason is None else ("stale", MASK_CHANGED)
        if (state, code, reason) == (row.state, row.code, row.reason):
            return
        with self._base.transaction() as base:
            base.execute(
                "UPDATE items SET state = ?, code = ?, reason = ?, stale = ? WHERE input = ? AND state = ?",
                (state, code, reason, int(reason is not None), row.input, row.state),
            )

    def add(self, entries: Sequence[Entry]) -> None:
        """Write the states of items that are not in the ledger yet."""
        with self._base.transaction() as base:
            base.executemany(_INSERT + "ON CONFLICT (input) DO NOTHING", map(_values, entries))

    def enter(self, entries: Sequence[Entry]) -> None:
        """Write the states of items, all of them or none; each running item counts one try."""
        with self._base.transaction() as base:
            base.executemany(_UPSERT, map(_values, entries))

    def claim(self, entry: Entry, before: Row | None) -> bool:
        """Write the state of an item if its row is still what it was; return whether it is."""
        with self._base.transaction() as base:
            found = base.execute(_OF_ITEM, (entry.input,)).fetchone()
            if found != before:
                return False
            base.execute(_UPSERT, _values(entry))
        return True

    def settle(self, entry: Entry, outputs: Sequence[Written] = (), volumes: Mapping[str, float] | None = None) -> bool:
        """Write how an item ended, with what was written and the volumes of its structures, in milliliters.

        Only a finished item is entered where another run has finished it; return whether this one was.
        """
        with self._base.transaction() as base:
            if entry.state != "done" and _is_done(base, entry.input):
                return False
            base.execute(_UPSERT, _values(entry))
            _replace_outputs(base, entry.input, outputs)
            _replace_volumes(base, entry.input, volumes or {})
        return True

    def leave(self, item: str, holder: str | None) -> None:
        """Set an item back to pending if `holder` is the one who is working on it."""
        with self._base.transaction() as base:
            base.execute(
                "UPDATE items SET state = 'pending', holder = NULL, changed = CURRENT_TIMESTAMP "
                "WHERE input = ? AND state = 'running' AND holder IS ?",
                (item, holder),
            )

    def set_volumes(self, item: str, volumes: Mapping[str, float]) -> None:
        """Replace the volumes of the structures of an item's mask, in milliliters."""
        with self._base.transaction() as base:
            _replace_volumes(base, item, volumes)

    def set_outputs(self, item: str, outputs: Sequence[Written]) -> None:
        """Replace what is known of the files of an item's mask."""
        with self._base.transaction() as base:
            _replace_outputs(base, item, outputs)

    def volumes(self) -> dict[str, dict[str, float]]:
        """Return the volume of each structure in milliliters, for each finished item that is a volume."""
        found: dict[str, dict[str, float]] = {}
        query = "SELECT input, name, ml FROM structures JOIN items USING (input) WHERE state = 'done' ORDER BY 1, 2"
        for item, name, ml in self._base.query(query):
            found.setdefault(item, {})[name] = ml
        return found

    def recipe(self, record: Mapping[str, Any]) -> str:
        """Store the record of a recipe, and return its key."""
        text = json.dumps(record, sort_keys=True)
        key = sha256(text.encode()).hexdigest()
        with self._base.transaction() as base:
            base.execute("INSERT OR IGNORE INTO kept VALUES (?, ?)", (f"recipe {key}", text))
        return key

    def record(self, key: str) -> dict[str, Any]:
        """Return the record of a recipe."""
        found = self._base.query("SELECT value FROM kept WHERE name = ?", (f"recipe {key}",))
        return dict(json.loads(found[0][0])) if found else {}

    def release(self, codes: Sequence[str]) -> int:
        """Set failed and quarantined items, of `codes` only if any, back to pending; return their number."""
        marks = ", ".join("?" * len(codes))
        chosen = f" AND code IN ({marks})" if codes else ""
        with self._base.transaction() as base:
            changed = base.execute(
                "UPDATE items SET state = 'pending', changed = CURRENT_TIMESTAMP "
                f"WHERE state IN ('failed', 'quarantined'){chosen}",
                tuple(codes),
            )
        return changed.rowcount

    def redo(self, items: Sequence[str]) -> int:
        """Set items back to pending, finished ones so that their masks are made again; return their number.

        What is running, or pending already, is left alone.
        """
        with self._base.transaction() as base:
            changed = base.executemany(
                "UPDATE items SET state = 'pending', stale = (stale OR state = 'done'), "
                "changed = CURRENT_TIMESTAMP WHERE input = ? AND state NOT IN ('pending', 'running')",
                [(item,) for item in items],
            )
        return max(changed.rowcount, 0)


def _values(entry: Entry) -> tuple[Any, ...]:
    return (*(getattr(entry, name) for name in _FIELDS), int(entry.state == "running"))


def _is_done(base: sqlite3.Connection, item: str) -> bool:
    return bool(base.execute("SELECT state FROM items WHERE input = ?", (item,)).fetchone() == ("done",))


def _replace_outputs(base: sqlite3.Connection, item: str, outputs: Sequence[Written]) -> None:
    base.execute("DELETE FROM outputs WHERE input = ?", (item,))
    base.executemany("INSERT INTO outputs VALUES (?, ?, ?, ?)", [(item, *written) for written in outputs])


def _replace_volumes(base: sqlite3.Connection, item: str, volumes: Mapping[str, float]) -> None:
    base.execute("DELETE FROM structures WHERE input = ?", (item,))
    base.executemany("INSERT INTO structures VALUES (?, ?, ?)", [(item, name, ml) for name, ml in volumes.items()])


_FIELDS = tuple(Entry.__dataclass_fields__)
_SELECT = f"SELECT {', '.join(Row._fields)} FROM items"
_OF_ITEM = f"{_SELECT} WHERE input = ?"
_INSERT = f"INSERT INTO items ({', '.join(_FIELDS)}, tries) VALUES ({', '.join('?' * len(_FIELDS))}, ?) "
_UPSERT = (
    f"{_INSERT} ON CONFLICT (input) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _FIELDS[1:])}, "
    "tries = items.tries + excluded.tries, changed = CURRENT_TIMESTAMP"
)
