"""What a person said of the items of an archive, in a table: pass or fail, and a comment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.archive.ledger import ArchiveLedger
from pipeline.archive.pseudonyms import pseudonym
from pipeline.decoding import did_you_mean
from pipeline.errors import RequestError
from pipeline.io.tables import read_rows

COLUMNS = ("input", "verdict", "comment")
"""Columns of a table of reviews; it may have others."""
_VERDICTS = ("pass", "fail")


@dataclass(frozen=True)
class Review:
    """What a person said of an item."""

    input: str
    """Its name in the ledger."""
    verdict: Literal["pass", "fail"] | None
    comment: str


@dataclass(frozen=True)
class ReviewStatus:
    """How far the review of an archive has come."""

    passed: int
    failed: int
    unseen: int
    """Finished items without a verdict."""
    to_redo: tuple[Review, ...]
    """Those that failed, with their comments."""


def read_reviews(path: Path, ledger: ArchiveLedger, option: str = "--table") -> dict[str, Review]:
    """Read a table that the page of an archive exported: reviews by input; items may stand under their pseudonyms.

    Messages begin with the option that named the table.

    Raises:
        RequestError: If it cannot be read, lacks a column, or has an item or a verdict that is not known.

    """
    told = f"{option} {path}"
    rows = read_rows(path, f"{option} ")
    columns = tuple(rows[0]) if rows else COLUMNS
    if missing := [name for name in COLUMNS[:2] if name not in columns]:
        raise RequestError(f"{told}: has no column {missing[0]}; it has {', '.join(columns) or 'none'}")
    names = _names(ledger.inputs(), {row["input"] or "" for row in rows})
    found = [_review(f"{told}, line {line}", row, names) for line, row in enumerate(rows, 2)]
    return {review.input: review for review in found}


def review_status(ledger: ArchiveLedger, reviews: Mapping[str, Review]) -> ReviewStatus:
    """Count reviews of an archive."""
    done = ledger.inputs(("done",))
    verdicts = [review.verdict for review in reviews.values()]
    unseen = [item for item in done if item not in reviews or reviews[item].verdict is None]
    failed = tuple(review for review in reviews.values() if review.verdict == "fail")
    return ReviewStatus(verdicts.count("pass"), len(failed), len(unseen), failed)


def to_redo(reviews: Mapping[str, Review]) -> list[str]:
    """Return the items that failed a review."""
    return [item for item, review in reviews.items() if review.verdict == "fail"]


def _names(items: Iterable[str], said: AbstractSet[str]) -> dict[str, str]:
    """Return items by the names under which a table may have them: their pseudonyms, unless it says none."""
    known = {item: item for item in items}
    return known if said <= known.keys() else {pseudonym(item): item for item in known} | known


def _review(place: str, row: Mapping[str, str], names: Mapping[str, str]) -> Review:
    name, verdict = row["input"] or "", (row["verdict"] or "").strip().lower()
    item = names.get(name) or names.get(str(Path(name).absolute()))
    if item is None:
        raise RequestError(f"{place}: the ledger has no item {name}{did_you_mean(name, names)}")
    if verdict not in ("", *_VERDICTS):
        raise RequestError(f"{place}: verdict {row['verdict']!r} must be pass, fail or empty")
    return Review(item, "pass" if verdict == "pass" else "fail" if verdict else None, row.get("comment") or "")
