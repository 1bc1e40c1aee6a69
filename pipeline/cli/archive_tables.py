"""Print how far an archive has come, and what is wrong with its masks."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from pipeline.cli.tables import print_json, print_table, table_of
from pipeline.errors import counted, duration_text
from pipeline.files.visible import visible

if TYPE_CHECKING:
    from pipeline.archive.review import ReviewStatus
    from pipeline.archive.status import Status
    from pipeline.archive.verify import Verdict


def print_status(status: Status, review: ReviewStatus | None = None, *, as_json: bool) -> None:
    """Print items by state, reasons by kind, throughput, and how far a review has come; or one object."""
    if as_json:
        print_json({**asdict(status), **({} if review is None else {"review": asdict(review)})})
        return
    table = table_of("state", "items")
    for state, items in status.states.items():
        if items:
            table.add_row(state, str(items))
    print_table(table)
    if status.reasons:
        table = table_of("reason", "state", "items", "for example")
        for reason in status.reasons:
            table.add_row(reason.code, reason.state, str(reason.items), reason.example)
        print_table(table)
    sys.stdout.write(_pace(status) + "\n")
    if review is not None:
        _print_review(review)


def _print_review(review: ReviewStatus) -> None:
    sys.stdout.write(f"reviewed: {review.passed} pass, {review.failed} fail, {review.unseen} not seen\n")
    if review.to_redo:
        table = table_of("failed the review", "comment")
        for one in review.to_redo:
            table.add_row(one.input, one.comment)
        print_table(table)


def _pace(status: Status) -> str:
    if status.megapixels_per_second is None or status.items_per_hour is None:
        return "nothing is done yet"
    rates = f"{status.megapixels_per_second:.2f} Mpx/s, {status.items_per_hour:.0f} items/h"
    left = f", {duration_text(status.seconds_left)} left" if status.seconds_left else ""
    return f"{status.megapixels:.1f} Mpx done, {rates}{left}"


def print_verdicts(found: Sequence[Verdict], *, as_json: bool) -> None:
    """Print what is wrong with masks, and how many are as they were; or `{"items": [...]}`."""
    if as_json:
        print_json({"items": [asdict(verdict) for verdict in found]})
        return
    for verdict in found:
        if verdict.state != "intact":
            sys.stdout.write(f"{visible(verdict.reason)}\n")
    counts = Counter(verdict.state for verdict in found)
    listed = ", ".join(f"{count} {state}" for state, count in counts.items())
    sys.stdout.write(f"{counted(len(found), 'file')}: {listed or 'nothing to verify'}\n")
