"""What the page of an archive says and shows."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipeline.archive.ledger import ArchiveLedger, Row, Written
from pipeline.archive.outliers import find_outliers
from pipeline.archive.outputs import path_in
from pipeline.archive.place import LEDGER_NAME, Opened
from pipeline.archive.pseudonyms import pseudonym
from pipeline.archive.review import Review, read_reviews
from pipeline.archive.status import Status, find_ledger, status_of
from pipeline.files.object_path import output_path
from pipeline.reports.options import ReportOptions
from pipeline.reports.page import Page
from pipeline.reports.thumbnails import ACROSS, SIDE, Picture, Thumbnail, thumbnails, write_shards
from pipeline.reports.values import Facts, made_by

_MOST_AMOUNTS = 60
"""Structures and classes that the table can be sorted by."""


@dataclass(frozen=True)
class ArchivePage:
    """What the page of an archive says."""

    title: str
    made_by: str
    notes: tuple[str, ...]
    states: tuple[tuple[str, int], ...]
    """States that some items have, with their number."""
    reasons: tuple[tuple[str, str, int, str], ...]
    """Kind of reason, state, items, and the reason of one of them."""
    facts: Facts
    commands: tuple[str, ...]


@dataclass(frozen=True)
class Item:
    """What is shown of an item."""

    input: str
    output: str
    state: str
    code: str
    reason: str
    seconds: float
    megapixels: float
    tries: int
    changed: str
    unusual: str
    """What is unusual about its mask; empty if nothing is."""
    amounts: Mapping[str, float]
    """Milliliters of structures, or shares of classes in percent, by name and unit."""
    thumbnail: int = -1
    """Number of its thumbnail; -1: there is none."""


def archive_page(place: Opened, target: Path, asked: ReportOptions) -> Page:
    """Return the page of an archive, and write the thumbnails beside it.

    Args:
        place: The ledger, or its folder or address.
        target: File of the page: thumbnails are in the folder `<stem>_thumbnails` beside it.
        asked: What it holds.

    Raises:
        PipelineError: If there is no ledger, or something cannot be written.

    """
    with closing(find_ledger(place)) as ledger:
        rows = list(ledger.rows().values())
        items = items_of(ledger, rows)
        status = status_of(ledger)
        masks = _masks(ledger, rows)
        reviews = {} if asked.reviews is None else read_reviews(asked.reviews, ledger, "--reviews")
    folder = folder_of_thumbnails(target)
    if asked.thumbnails:
        items = _with_thumbnails(items, masks, folder)
    page = _page(ledger.place, status, len(items))
    if asked.hash_names:
        items, page = [without_names(item) for item in items], _nameless(page, reviews)
        reviews = {pseudonym(name): replace(review, comment="") for name, review in reviews.items()}
    return Page("archive", page, _data(ledger.place, items, reviews, folder.name))


def folder_of_thumbnails(page: Path) -> Path:
    """Return the folder of the thumbnails of a page."""
    return page.with_name(f"{page.stem}_thumbnails")


def items_of(ledger: ArchiveLedger, rows: Sequence[Row]) -> list[Item]:
    """Return all items of an archive, in the order of the ledger."""
    volumes = ledger.volumes()
    unusual: dict[str, list[str]] = {}
    for outlier in find_outliers(ledger.structures()):
        unusual.setdefault(outlier.input, []).append(outlier.reason.removeprefix(f"{outlier.input}: "))
    return [_item(row, volumes.get(row.input, {}), unusual.get(row.input, ())) for row in rows]


def _item(row: Row, volumes: Mapping[str, float], unusual: Sequence[str]) -> Item:
    return Item(
        input=row.input,
        output=row.output or "",
        state=row.state,
        code=row.code or "",
        reason=row.reason or "",
        seconds=round(row.seconds, 2),
        megapixels=round(row.cells / 1e6, 3),
        tries=row.tries,
        changed=row.changed,
        unusual="; ".join(unusual),
        amounts={f"{name}, ml": round(ml, 3) for name, ml in volumes.items()},
    )


def without_names(item: Item) -> Item:
    """Return an item with pseudonyms instead of names, and without reasons, which may quote a header."""
    output = item.output and pseudonym(item.output)
    return replace(item, input=pseudonym(item.input), output=output, reason="")


def _masks(ledger: ArchiveLedger, rows: Sequence[Row]) -> list[Path | None]:
    """Return the masks of finished items: by their place in the folder of the ledger, which may have been moved."""
    outputs = ledger.outputs()
    return [_mask(ledger.folder, row, outputs.get(row.input, ())) if row.state == "done" else None for row in rows]


def _mask(folder: Path | None, row: Row, known: Sequence[Written]) -> Path | None:
    if row.output is None:
        return None
    written = output_path(row.output)
    found = next((path_in(folder, one.path) for one in known if Path(one.path).name == written.name), written)
    return found if isinstance(found, Path) else None


def _with_thumbnails(items: Sequence[Item], masks: Sequence[Path | None], folder: Path) -> list[Item]:
    """Write thumbnails, and return items that know theirs."""
    shown: list[Item] = []

    def pictures() -> Iterator[Picture]:
        number = 0
        for item, made in zip(items, thumbnails(masks), strict=True):
            shown.append(item if made is None else _with_thumbnail(item, made, number))
            if made is not None:
                number += 1
                yield made.picture

    write_shards(folder, pictures())
    return shown


def _with_thumbnail(item: Item, made: Thumbnail, number: int) -> Item:
    shares = {} if item.amounts else {f"{name}, %": round(100 * share, 2) for name, share in made.shares.items()}
    return replace(item, thumbnail=number, amounts={**item.amounts, **shares})


def _page(ledger: Opened, status: Status, items: int) -> ArchivePage:
    pace = status.megapixels_per_second
    known = [("items", f"{items:,}"), ("finished", f"{status.megapixels:,.1f} Mpx in {status.seconds:,.0f} s")]
    speed = [] if pace is None else [("speed", f"{pace:.2f} Mpx/s, {status.items_per_hour or 0:,.0f} items an hour")]
    return ArchivePage(
        title=f"Archive {ledger.parent.resolve().name if isinstance(ledger, Path) else ledger}",
        made_by=made_by(),
        notes=() if items else ("The ledger has no items yet.",),
        states=tuple((state, count) for state, count in status.states.items() if count),
        reasons=tuple((one.code, one.state, one.items, one.example) for one in status.reasons),
        facts=(*known, *speed),
        commands=_commands(str(ledger)),
    )


def _commands(ledger: str) -> tuple[str, ...]:
    return tuple(
        shlex.join(["pipeline", *words])
        for words in (
            ("retry", "--table", "reviews.csv", ledger),
            ("status", "--table", "reviews.csv", ledger),
            ("report", ledger),
        )
    )


def _nameless(page: ArchivePage, reviews: Mapping[str, Review]) -> ArchivePage:
    reasons = tuple((code, state, items, "") for code, state, items, _ in page.reasons)
    left_out = any(review.comment for review in reviews.values())
    notes = (*page.notes, *(("Comments of the reviews are left out: they may have names.",) if left_out else ()))
    return replace(page, title="Archive", notes=notes, reasons=reasons, commands=_commands(LEDGER_NAME))


def _data(ledger: Opened, items: Sequence[Item], reviews: Mapping[str, Review], folder: str) -> dict[str, Any]:
    amounts = dict.fromkeys(name for item in items for name in item.amounts)
    columns = list(Item.__dataclass_fields__)
    return {
        "key": sha256(
            str(ledger.resolve() if isinstance(ledger, Path) else ledger).encode("utf-8", "surrogateescape")
        ).hexdigest()[:16],
        "columns": columns,
        "items": [[getattr(item, name) for name in columns] for item in items],
        "amounts": list(amounts)[:_MOST_AMOUNTS],
        "reviews": [[name, review.verdict or "", review.comment] for name, review in reviews.items()],
        "thumbnails": {"folder": folder, "side": SIDE, "across": ACROSS},
    }
