"""Summarize an archive by its ledger: how much is done, what failed and why, throughput, and time left."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from pipeline.archive.database import State
from pipeline.archive.holder import Holder
from pipeline.archive.ledger import LEDGER_NAME, ArchiveLedger, Row
from pipeline.archive.outliers import Outlier, find_outliers
from pipeline.archive.outputs import MASK_CHANGED
from pipeline.errors import OutputError
from pipeline.files.atomic import atomic_write

_LEFT: tuple[State, ...] = ("pending", "running", "failed", "stale")
"""States of items that the next run segments."""
_FAILED: tuple[State, ...] = ("failed", "quarantined")
_INTERRUPTED = "interrupted"
_TO_TELL = (_INTERRUPTED, MASK_CHANGED)
"""Codes of items that did not fail and are told all the same."""


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


def find_ledger(path: Path) -> ArchiveLedger:
    """Open the ledger in a file, or in a folder under its usual name.

    Raises:
        RequestError: If there is none.

    """
    return ArchiveLedger(path / LEDGER_NAME if path.is_dir() else path, create=False)


def status_of(ledger: ArchiveLedger) -> Status:
    """Count an archive."""
    return _count(ledger, find_outliers(ledger.volumes()))


def _count(ledger: ArchiveLedger, outliers: Sequence[Outlier]) -> Status:
    rows = list(map(_seen, ledger.rows().values()))
    counts = Counter(row.state for row in rows)
    done = [row for row in rows if row.state == "done"]
    return Status(
        ledger=str(ledger.path),
        states={state: counts[state] for state in get_args(State)},
        reasons=_reasons(_rows_to_review(rows, outliers)),
        megapixels=sum(row.cells for row in done) / 1e6,
        **_speed([row for row in done if row.seconds], left=sum(counts[state] for state in _LEFT)),
    )


def _seen(row: Row) -> Row:
    """Return an item that is running, but whose process has ended, as the next run finds it: pending."""
    holder = Holder.of(row.holder) if row.state == "running" else None
    if holder is None or not holder.process.has_ended:
        return row
    reason = f"{row.input}: {holder.process} ended before it was done; run the same command again"
    return row._replace(state="pending", code=_INTERRUPTED, reason=reason)


def _speed(timed: Sequence[Row], left: int) -> dict[str, Any]:
    """Return the fields of a status about time, from the items whose time is known."""
    seconds, cells = sum(row.seconds for row in timed), sum(row.cells for row in timed)
    each = seconds / len(timed) if timed else None
    return {
        "seconds": seconds,
        "megapixels_per_second": cells / 1e6 / seconds if seconds else None,
        "items_per_hour": 3600 / each if each else None,
        "seconds_left": left * each if each is not None else None,
    }


def report_path(ledger: Path) -> Path:
    """Return the file of counts, failures and outliers beside a ledger."""
    return ledger.with_suffix(".json")


def check_report_path(ledger: Path) -> None:
    """Raise OutputError if the counts of an archive would replace a file that has none."""
    path = report_path(ledger)
    try:
        ours = "states" in json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError, TypeError):
        ours = False
    if not ours:
        raise OutputError(
            f"{path}: already exists and would be overwritten by the counts of {ledger.name}; move it, or give another "
            "--ledger"
        )


def write_report(ledger: ArchiveLedger) -> Path:
    """Write counts, failures and outliers as JSON beside the ledger, and return the file.

    Raises:
        OutputError: If it cannot be written.

    """
    outliers = find_outliers(ledger.volumes())
    told = asdict(_count(ledger, outliers))
    told["failed"] = [row._asdict() for row in ledger.rows(_FAILED).values()]
    told["suspects"] = [asdict(outlier) for outlier in outliers]
    path = report_path(ledger.path)
    with atomic_write(path) as draft:
        draft.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return path


def _rows_to_review(rows: Iterable[Row], outliers: Iterable[Outlier]) -> list[Row]:
    """Return the rows that failed or were interrupted, and those of outliers, each with its reason."""
    by_input = {row.input: row for row in rows}
    failed = [row for row in by_input.values() if row.state in _FAILED or row.code in _TO_TELL]
    known = [each for each in outliers if each.input in by_input]
    return failed + [by_input[each.input]._replace(code=each.code, reason=each.reason) for each in known]


def _reasons(rows: Iterable[Row]) -> tuple[Reason, ...]:
    by_kind: dict[tuple[str, State], list[Row]] = {}
    for row in rows:
        by_kind.setdefault((row.code or "error", row.state), []).append(row)
    found = [Reason(code, state, len(items), items[0].reason or "") for (code, state), items in by_kind.items()]
    return tuple(sorted(found, key=lambda reason: (-reason.items, reason.code)))
