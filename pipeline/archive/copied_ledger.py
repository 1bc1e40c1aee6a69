"""The file of a ledger whose masks are objects, and the object beside them that is a copy of it.

What stores objects is imported where there is one: it brings NumPy and the sweep.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

from pipeline.archive.place import DatabaseUrl, Opened, Place
from pipeline.files.object_path import ObjectPath, OutputPath, as_output


def ledger_here(place: Place) -> Opened:
    """Return where a ledger is opened: one whose masks are objects in the state folder of the user."""
    place = _named(place)
    if not isinstance(place, ObjectPath):
        return place
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    digits = sha256(f"{place}".encode()).hexdigest()[:8]
    return Path(state, "pipeline", f"{place.parent.name or place.bucket}-{digits}", place.name)


def fetched_ledger(place: Place) -> Opened:
    """Return where a ledger is opened; where there is no file yet, and an object is a copy of it, that is fetched."""
    place = _named(place)
    here = ledger_here(place)
    if isinstance(place, ObjectPath) and isinstance(here, Path) and not here.exists():
        from pipeline.runs.storage import fetch_object

        fetch_object(place, here)
    return here


def has_ledger(place: OutputPath) -> bool:
    """Return whether there is a ledger: a file, or a file of an object or that object."""
    here = ledger_here(place)
    if isinstance(here, Path) and here.is_file():
        return True
    from pipeline.runs.storage import is_there

    return isinstance(place, ObjectPath) and is_there(place)


def send_ledger(here: Opened, place: Place) -> None:
    """Write the copy of a ledger whose masks are objects."""
    place = _named(place)
    if isinstance(place, ObjectPath) and isinstance(here, Path):
        from pipeline.runs.storage import send_object

        send_object(here, place)


def _named(place: Place) -> Place:
    """Return the object that a path stands for which was made of its address."""
    return place if isinstance(place, DatabaseUrl) else as_output(place)
