"""The ledger of an archive: one row per item, in a database that several processes or machines may share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.archive.database import Database
from pipeline.archive.place import LEDGER_NAME, Opened
from pipeline.archive.tables import Base, State, Transaction
from pipeline.errors import RequestError

__all__ = ["LEDGER_NAME", "ArchiveLedger", "Count", "Entry", "Row", "StructureVolume", "Written"]

MASK_CHANGED = "mask-changed"
"""Code of finished items whose mask is missing, or is not as it was written."""
StructureVolume = tuple[str, str, float]
"""Item, name of a structure in its mask, and milliliters of it."""


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


class Written(NamedTuple):
    """A file or store of a mask as it was written."""

    path: str
    """Relative to the folder of the ledger if it is inside it, so that both can be moved; otherwise absolute."""
    stamp: str
    """Size in bytes and time of change in nanoseconds; of a store, the sum and the latest of its files."""
    sha256: str


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


class Count(NamedTuple):
    """Items of one state and code, together."""

    state: State
    code: str | None
    items: int
    cells: int
    timed: int
    """Items whose time is known, and their cells and seconds."""
    timed_cells: int
    seconds: float


class ArchiveLedger:
    """The ledger in one database. Each change is a transaction of its own; a crash loses none that was committed."""

    def __init__(self, place: Opened, *, create: bool = True) -> None:
        """Open the ledger at `place`.

        Raises:
            RequestError: If there is none and it may not be created.
            OutputError: If it cannot be used.

        """
        self.place = place
        self._base = _opened(place, create=create)

    @property
    def folder(self) -> Path | None:
        """The folder that masks are named from; None: by their absolute paths, since the ledger is in no folder."""
        return self.place.parent if isinstance(self.place, Path) else None

    def close(self) -> None:
        """Close it."""
        self._base.close()

    def beating(self, run: str) -> AbstractContextManager[None]:
        """Return a context in which others see that a run of this process is alive."""
        return self._base.beating(run)

    def living(self) -> frozenset[str] | None:
        """Return the runs that are alive; None: their processes are to be looked for."""
        return self._base.living()

    def rows(self, states: Iterable[State] = ()) -> dict[str, Row]:
        """Return the rows by input; only those in `states`, if there are any."""
        return {row[0]: Row(*row) for row in self._chosen(_COLUMNS, tuple(states))}

    def _chosen(self, columns: str, states: Sequence[State]) -> list[tuple[Any, ...]]:
        chosen = f" WHERE state IN ({_marks(states)})" if states else ""
        return self._base.query(f"SELECT {columns} FROM items{chosen} ORDER BY input", states)

    def inputs(self, states: Iterable[State] = ()) -> list[str]:
        """Return the inputs of all items, or of those in `states` if there are any."""
        return [item for (item,) in self._chosen("input", tuple(states))]

    def counts(self) -> list[Count]:
        """Return the items by state and code."""
        return [_count(*row) for row in self._base.query(_COUNTS)]

    def examples(self, states: Sequence[State], codes: Sequence[str]) -> list[Row]:
        """Return the first item of each state and code, of those in `states` or with one of `codes`."""
        query = _EXAMPLES.format(states=_marks(states), codes=_marks(codes))
        return [Row(*row) for row in self._base.query(query, (*states, *codes))]

    def row(self, item: str) -> Row | None:
        """Return the row of an item, if there is one."""
        found = self._base.query(_OF_ITEM, (item,))
        return Row(*found[0]) if found else None

    def rows_of(self, items: Sequence[str]) -> dict[str, Row]:
        """Return the rows of items, of those that have one."""
        found = self._base.query(f"{_SELECT} WHERE input IN ({_marks(items)})", items) if items else []
        return {row[0]: Row(*row) for row in found}

    def recipes(self) -> set[str | None]:
        """Return the keys of the recipes of finished items."""
        return {key for (key,) in self._base.query("SELECT DISTINCT recipe FROM items WHERE state = 'done'")}

    def outputs(self, items: Sequence[str] | None = None) -> dict[str, tuple[Written, ...]]:
        """Return what was written for each item, or for each of `items`."""
        found: dict[str, tuple[Written, ...]] = {}
        chosen = "" if items is None else f" WHERE input IN ({_marks(items)})"
        query = f"SELECT input, path, stamp, sha256 FROM outputs{chosen} ORDER BY input, path"
        for name, *written in self._base.query(query, items or ()):
            found[name] = (*found.get(name, ()), Written(*written))
        return found

    def made(self, path: str) -> tuple[Row | None, tuple[Written, ...]]:
        """Return the item that a file belongs to, and all that was written for it."""
        found = self._base.query("SELECT input FROM outputs WHERE path = ?", (path,))
        item = found[0][0] if found else ""
        return self.row(item), self.outputs([item]).get(item, ())

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
            if (None if found is None else tuple(found)) != before:
                return False
            base.execute(_UPSERT, _values(entry))
        return True

    def settle(
        self,
        entry: Entry,
        outputs: Sequence[Written] = (),
        volumes: Mapping[str, float] | None = None,
        holder: str | None = None,
    ) -> bool:
        """Write how an item ended, with what was written and the volumes of its structures, in milliliters.

        Only a finished item is entered where another run than that of `holder` has finished it, or is working on it;
        return whether this one was.
        """
        with self._base.transaction() as base:
            if entry.state != "done" and _is_of_another(base, entry.input, holder):
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
                "WHERE input = ? AND state = 'running' AND COALESCE(holder, '') = COALESCE(?, '')",
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
        for item, name, ml in sorted(self.structures()):
            found.setdefault(item, {})[name] = ml
        return found

    def structures(self) -> Sequence[StructureVolume]:
        """Return the volume of each structure of each finished item, in no order: sorting many takes longest."""
        return self._base.query("SELECT input, name, ml FROM structures JOIN items USING (input) WHERE state = 'done'")

    def recipe(self, record: Mapping[str, Any]) -> str:
        """Store the record of a recipe, and return its key."""
        text = json.dumps(record, sort_keys=True)
        key = sha256(text.encode()).hexdigest()
        with self._base.transaction() as base:
            base.execute("INSERT INTO kept VALUES (?, ?) ON CONFLICT DO NOTHING", (f"recipe {key}", text))
        return key

    def record(self, key: str) -> dict[str, Any]:
        """Return the record of a recipe."""
        found = self.kept(f"recipe {key}")
        return {} if found is None else dict(json.loads(found))

    def keep(self, name: str, value: str) -> None:
        """Keep a value under a name."""
        with self._base.transaction() as base:
            base.execute(
                "INSERT INTO kept VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
            )

    def kept(self, name: str) -> str | None:
        """Return the value that was kept under a name."""
        found = self._base.query("SELECT value FROM kept WHERE name = ?", (name,))
        return found[0][0] if found else None

    def release(self, codes: Sequence[str]) -> int:
        """Set failed and quarantined items, of `codes` only if any, back to pending; return their number."""
        chosen = f" AND code IN ({_marks(codes)})" if codes else ""
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
            changed = [base.execute(_REDO, (item,)).rowcount for item in items]
        return sum(changed)


def _opened(place: Opened, *, create: bool) -> Base:
    """Return the database at `place`."""
    if isinstance(place, Path):
        if not create and not place.is_file():
            raise RequestError(f"{place}: no ledger here; give the file of a ledger, or its folder")
        return Database(place)
    from pipeline.archive.postgres import PostgresDatabase

    return PostgresDatabase(place, create=create)


def _marks(values: Sequence[str]) -> str:
    """Return as many placeholders as there are values; one that matches nothing where there are none."""
    return ", ".join("?" * len(values)) or "NULL"


def _values(entry: Entry) -> tuple[Any, ...]:
    said = {name: getattr(entry, name) for name in _FIELDS}
    return (*(said | {"stale": int(entry.stale)}).values(), int(entry.state == "running"))


def _count(state: State, code: str | None, items: int, *sums: Any) -> Count:  # noqa: ANN401  (numbers of any kind)
    cells, timed, timed_cells, seconds = sums
    return Count(state, code, items, int(cells), int(timed), int(timed_cells), float(seconds))


def _is_of_another(base: Transaction, item: str, holder: str | None) -> bool:
    """Return whether an item is done, or another run is working on it."""
    found = base.execute("SELECT state, holder FROM items WHERE input = ?", (item,)).fetchone()
    state, now = found or (None, None)
    return state == "done" or (state == "running" and None not in (now, holder) and now != holder)


def _replace_outputs(base: Transaction, item: str, outputs: Sequence[Written]) -> None:
    base.execute("DELETE FROM outputs WHERE input = ?", (item,))
    base.executemany("INSERT INTO outputs VALUES (?, ?, ?, ?)", [(item, *written) for written in outputs])


def _replace_volumes(base: Transaction, item: str, volumes: Mapping[str, float]) -> None:
    base.execute("DELETE FROM structures WHERE input = ?", (item,))
    base.executemany("INSERT INTO structures VALUES (?, ?, ?)", [(item, name, ml) for name, ml in volumes.items()])


_FIELDS = tuple(Entry.__dataclass_fields__)
_COLUMNS = ", ".join(Row._fields)
_SELECT = f"SELECT {_COLUMNS} FROM items"
_OF_ITEM = f"{_SELECT} WHERE input = ?"
_INSERT = f"INSERT INTO items ({', '.join(_FIELDS)}, tries) VALUES ({', '.join('?' * len(_FIELDS))}, ?) "
_UPSERT = (
    f"{_INSERT} ON CONFLICT (input) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _FIELDS[1:])}, "
    "tries = items.tries + excluded.tries, changed = CURRENT_TIMESTAMP"
)
_REDO = (
    "UPDATE items SET state = 'pending', stale = CASE WHEN state = 'done' THEN 1 ELSE stale END, "
    "changed = CURRENT_TIMESTAMP WHERE input = ? AND state NOT IN ('pending', 'running')"
)
_COUNTS = (
    "SELECT state, code, COUNT(*), SUM(cells), SUM(CASE WHEN seconds > 0 THEN 1 ELSE 0 END), "
    "SUM(CASE WHEN seconds > 0 THEN cells ELSE 0 END), SUM(seconds) FROM items GROUP BY state, code ORDER BY 1, 2"
)
_EXAMPLES = (
    f"{_SELECT} WHERE input IN (SELECT MIN(input) FROM items WHERE state IN ({{states}}) OR code IN ({{codes}}) "
    "GROUP BY state, code) ORDER BY input"
)
