"""Where a ledger is: in an SQLite file, or one that an object copies, or in a database that several machines reach."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.decoding import Reader
from pipeline.decoding.readers import text
from pipeline.errors import RequestError
from pipeline.files.object_path import ObjectPath, OutputPath, is_object
from pipeline.io.suffixes import is_store

LEDGER_NAME = "archive.sqlite"
VARIABLE = "PIPELINE_LEDGER"
"""Environment variable that stands for `--ledger`: there, an address may have a password."""
_SCHEMES = ("postgresql", "postgres")
_PASSWORD = re.compile(r"(?<=://)([^:/?@]*):.*@", re.DOTALL)
"""Up to the last @: what is not encoded in a password belongs to it too."""
_OPTION = re.compile(r"([?&])(?:ssl)?password=[^&#]*&?", re.IGNORECASE)


@dataclass(frozen=True)
class DatabaseUrl:
    """The address of a database, which is shown without its password."""

    whole: str = field(repr=False)

    def __str__(self) -> str:
        return _OPTION.sub(r"\1", _PASSWORD.sub(r"\1@", self.whole)).rstrip("?&")

    @property
    def has_password(self) -> bool:
        """Whether there is a password in the address itself."""
        return str(self) != self.whole


Place = OutputPath | DatabaseUrl
"""A ledger whose masks are objects is in the state folder of the user, and an object beside them is a copy."""
Opened = Path | DatabaseUrl
"""Where a ledger is opened, see `pipeline.archive.copied_ledger`."""


def place_of(said: str | Path) -> Place:
    """Return where a ledger is: a path, or an address; with the password of `PIPELINE_LEDGER` if that is the same.

    Raises:
        RequestError: If it is the address of anything but a PostgreSQL database.

    """
    found, known = _place(str(said)), default_place()
    return known if known is not None and str(known) == str(found) else found


def subject_of(said: str | Path) -> Place:
    """Return what is to be shown or verified: the ledger in a database, or anything else by its path."""
    return place_of(said) if str(said).partition("://")[0] in _SCHEMES or is_object(said) else Path(said)


def default_place() -> Place | None:
    """Return where the environment says that the ledger is."""
    said = os.environ.get(VARIABLE)
    return _place(said) if said else None


def ledger_of(said: Place | None, folder: OutputPath) -> Place:
    """Return where the ledger of an archive is: where the user says, or the environment, or else with the masks."""
    return said or default_place() or folder / LEDGER_NAME


def is_ledger(place: Place) -> bool:
    """Return whether this is a ledger, or a folder or prefix that may hold one."""
    if isinstance(place, ObjectPath):
        from pipeline.io.formats import mask_format  # with numpy, for which no help waits

        return mask_format(place) is None
    return not isinstance(place, Path) or place.suffix == ".sqlite" or (place.is_dir() and not is_store(place))


def _place(said: str) -> Place:
    scheme, is_address, _ = said.partition("://")
    if is_object(said):
        return ObjectPath.parse(said)
    if not is_address:
        return Path(said)
    if scheme not in _SCHEMES:
        raise RequestError(
            f"{DatabaseUrl(said)}: cannot be a ledger; give an SQLite file, or a PostgreSQL database as "
            "postgresql://user@host/database"
        )
    return DatabaseUrl(said)


PLACE = Reader(
    "a path or an address", lambda value: place_of(text(value)), place_of, "<file>|postgresql://user@host/db"
)
