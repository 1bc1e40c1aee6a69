"""Summarize an archive by its ledger: how much is done, what failed and why, throughput, and time left."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from pipeline.archive.copied_ledger import fetched_ledger, send_ledger
from pipeline.archive.holder import Holder
from pipeline.archive.ledger import LEDGER_NAME, MASK_CHANGED, ArchiveLedger, Count, Row
from pipeline.archive.outliers import Outlier, find_outliers
from pipeline.archive.place import Opened, Place
from pipeline.archive.tables import State
from pipeline.errors import OutputError
from pipeline.files.atomic import atomic_write
from pipeline.files.digest import sha256_of
from pipeline.files.object_path import ObjectPath

_LEFT: tuple[State, ...] = ("pending", "running", "failed", "stale")
"""States of items that the next run segments."""
_FAILED: tuple[State, ...] = ("failed", "quarantined")
_INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Reason:
    """Items that failed, or should be reviewed, for one kind of reason."""

    code: str
    state: State
    items: int
    example: str
    """The reason of one of them."""


@dataclass(frozen=True)
class Status:
    """Counts of an archive."""

    ledger: str
    states: dict[State, int]
    """Items by state."""
    reasons: tuple[Reason, ...]
    megapixels: float
    """Megapixels of finished items."""
    seconds: float
    """Time that they took."""
    megapixels_per_second: float | None
    items_per_hour: float | None
    seconds_left: float | None
    """For the remaining items at the speed of finished ones; None before the first."""


def find_ledger(place: Place) -> ArchiveLedger:
    """Open the ledger in a file, in a folder or of a prefix under its usual name, or in a database.

    Raises:
        RequestError: If there is none.

    """
    return ArchiveLedger(fetched_ledger(_file_of(place)), create=False)


@contextmanager
def changing_ledger(place: Place) -> Iterator[ArchiveLedger]:
    """Open a ledger as `find_ledger` does, to change it; if it did change, the object that is a copy of it is sent."""
    with closing(find_ledger(place)) as ledger:
        before = _content_of(ledger)
        yield ledger
    if _content_of(ledger) != before:
        send_ledger(ledger.place, _file_of(place))


def _content_of(ledger: ArchiveLedger) -> str | None:
    """Return the SHA-256 of the file of a ledger; None if it is in a database."""
    return sha256_of(ledger.place) if isinstance(ledger.place, Path) else None


def _file_of(place: Place) -> Place:
    """Return the ledger in a folder or of a prefix; what is no such thing is one itself."""
    if isinstance(place, ObjectPath):
        return place if place.name.endswith(".sqlite") else place / LEDGER_NAME
    return place / LEDGER_NAME if isinstance(place, Path) and place.is_dir() else place


def status_of(ledger: ArchiveLedger) -> Status:
    """Count an archive."""
    return _count(ledger, find_outliers(ledger.structures()))


def _count(ledger: ArchiveLedger, outliers: Sequence[Outlier]) -> Status:
    died = _died(ledger)
    groups = ledger.counts()
    states = Counter({"running": -len(died), "pending": len(died)})
    for group in groups:
        states[group.state] += group.items
    done = [group for group in groups if group.state == "done"]
    return Status(
        ledger=str(ledger.place),
        states={state: states[state] for state in get_args(State)},
        reasons=_reasons(_groups_to_review(ledger, groups, died, outliers)),
        megapixels=sum(group.cells for group in done) / 1e6,
        **_speed(done, left=sum(states[state] for state in _LEFT)),
    )


def _died(ledger: ArchiveLedger) -> list[Row]:
    """Return the items that are running, but whose run has ended, as the next run finds them: pending."""
    running = [(row, Holder.of(row.holder)) for row in ledger.rows(("running",)).values()]
    living = ledger.living()
    return [_interrupted(row, holder) for row, holder in running if holder is not None and _has_ended(holder, living)]


def _has_ended(holder: Holder, living: frozenset[str] | None) -> bool:
    return holder.process.has_ended if living is None else holder.run not in living


def _interrupted(row: Row, holder: Holder) -> Row:
    reason = f"{row.input}: {holder.process} ended before it was done; run the same command again"
    return row._replace(state="pending", code=_INTERRUPTED, reason=reason)


def _speed(done: Sequence[Count], left: int) -> dict[str, Any]:
    """Return the fields of a status about time, from the finished items whose time is known."""
    seconds, cells = sum(group.seconds for group in done), sum(group.timed_cells for group in done)
    timed = sum(group.timed for group in done)
    each = seconds / timed if timed else None
    return {
        "seconds": seconds,
        "megapixels_per_second": cells / 1e6 / seconds if seconds else None,
        "items_per_hour": 3600 / each if each else None,
        "seconds_left": left * each if each is not None else None,
    }


def report_path(ledger: Opened) -> Path | None:
    """Return the file of counts, failures and outliers beside the file of a ledger; a database has none."""
    return ledger.with_suffix(".json") if isinstance(ledger, Path) else None


def check_report_path(ledger: Opened) -> None:
    """Raise OutputError if the counts of an archive would replace a file that has none."""
    path = report_path(ledger)
    if path is None:
        return
    try:
        ours = "states" in json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError, TypeError):
        ours = False
    if not ours:
        raise OutputError(
            f"{path}: already exists and would be overwritten by the counts of {Path(str(ledger)).name}; move it, "
            "or give another --ledger"
        )


def write_report(ledger: ArchiveLedger) -> Path | None:
    """Write counts, failures and outliers as JSON beside the file of a ledger, and return the file that it is.

    Raises:
        OutputError: If it cannot be written.

    """
    path = report_path(ledger.place)
    if path is None:
        return None
    outliers = find_outliers(ledger.structures())
    told = asdict(_count(ledger, outliers))
    told["failed"] = [row._asdict() for row in ledger.rows(_FAILED).values()]
    told["suspects"] = [asdict(outlier) for outlier in outliers]
    with atomic_write(path) as draft:
        draft.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return path


def _groups_to_review(
    ledger: ArchiveLedger, groups: Sequence[Count], died: Sequence[Row], outliers: Sequence[Outlier]
) -> list[Reason]:
    """Return the items that failed or were interrupted, and the outliers, by their kind of reason."""
    numbers = {(group.state, group.code): group.items for group in groups}
    examples = ledger.examples(_FAILED, (MASK_CHANGED,))
    seen_twice = [row for row in examples if (row.state, row.code) in numbers]  # others have ended since
    failed = [_reason(row.code, row.state, numbers[row.state, row.code], row.reason) for row in seen_twice]
    unusual: dict[str, list[Outlier]] = {}
    for each in outliers:
        unusual.setdefault(each.code, []).append(each)
    seen = [_reason(code, "done", len(found), found[0].reason) for code, found in unusual.items()]
    return [*failed, *(_reason(_INTERRUPTED, "pending", len(died), row.reason) for row in died[:1]), *seen]


def _reason(code: str | None, state: State, items: int, example: str | None) -> Reason:
    return Reason(code or "error", state, items, example or "")


def _reasons(found: Iterable[Reason]) -> tuple[Reason, ...]:
    return tuple(sorted(found, key=lambda reason: (-reason.items, reason.code)))
