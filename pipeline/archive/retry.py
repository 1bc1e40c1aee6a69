"""Queue failed items for the next run, all of them or those with certain reasons."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.archive.ledger import ArchiveLedger
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
