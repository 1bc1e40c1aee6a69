"""Queue failed items for the next run, all of them or those with certain reasons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.archive.ledger import ArchiveLedger
from pipeline.archive.review import read_reviews, to_redo
from pipeline.archive.run import CODES
from pipeline.decoding import did_you_mean
from pipeline.errors import RequestError


def release(ledger: ArchiveLedger, reasons: Sequence[str]) -> int:
    """Set failed and quarantined items with these reasons, or all of them, back to pending; return their number.

    Raises:
        RequestError: If a reason is neither known nor that of an item.

    """
    here = sorted({row.code for row in ledger.rows(("failed", "quarantined")).values() if row.code})
    known = {*here, *CODES}
    for reason in reasons:
        if reason not in known:
            there = f"items here failed with {', '.join(here)}" if here else "no item here has failed"
            raise RequestError(f"--reason {reason}: is not a reason{did_you_mean(reason, known)}; {there}")
    return ledger.release(reasons)


def release_reviewed(ledger: ArchiveLedger, table: Path) -> int:
    """Set the items that failed a review back to pending; return their number. Their masks are made again.

    Raises:
        RequestError: If the table cannot be used.

    """
    return ledger.redo(to_redo(read_reviews(table, ledger)))
