"""How far a schedule has come, so that a search also finds what appeared while nothing was running."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from hashlib import sha256

from pipeline.archive.copied_ledger import fetched_ledger, send_ledger
from pipeline.archive.ledger import ArchiveLedger
from pipeline.archive.place import LEDGER_NAME, Place, default_place
from pipeline.errors import LASTING, RequestError
from pipeline.files.object_path import output_path
from pipeline.jobs.request import Request, Search
from pipeline.runs.report import Report

_DAY = 86400.0


def caught_up(request: Request, place: Place | None, now: datetime) -> Request:
    """Return a request whose search of the last days begins that long before the last run after which nothing was left.

    Args:
        request: The request.
        place: Its ledger; None: that of the environment, or in the folder of the output.
        now: The present time.

    """
    search = request.search
    if search is None or search.days is None:
        return request
    place = place or default_place() or (output_path(request.output) / LEDGER_NAME if request.output else None)
    since = None if place is None else _searched(search, place)
    if since is None:
        return request
    missed = max(0.0, (now - since).total_seconds() / _DAY)
    return replace(request, search=replace(search, days=search.days + missed))


def note_searched(request: Request, place: Place, when: datetime, reports: Sequence[Report]) -> None:
    """Keep in the ledger when a search began, if it left nothing to be done and had room for more items."""
    search = request.search
    left = any(report.missing and report.code not in LASTING for report in reports)
    if search is None or left or len(reports) >= search.limit:
        return
    here = fetched_ledger(place)
    with closing(ArchiveLedger(here)) as ledger:
        ledger.keep(_key(search), when.astimezone(UTC).isoformat())
    send_ledger(here, place)


def _searched(search: Search, place: Place) -> datetime | None:
    with suppress(RequestError), closing(ArchiveLedger(fetched_ledger(place), create=False)) as ledger:
        kept = ledger.kept(_key(search))
        return None if kept is None else datetime.fromisoformat(kept)
    return None


def _key(search: Search) -> str:
    """Return the name of a search in the ledger: another one has its own."""
    asked = asdict(replace(search, days=None, limit=0))
    return f"searched {sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()}"
