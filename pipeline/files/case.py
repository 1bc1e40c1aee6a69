"""Whether a disk distinguishes capital letters in names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path

_LOOKED_AT = 20
"""Names in a folder of which one may have letters."""


@cache
def ignores_case(folder: Path) -> bool:
    """Return whether the disk of a folder, or of where it will be, takes names for the same that differ in case alone.

    Told by a name that is there: in the nearest folder that exists, or else its own.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    named = next((path for path in _names(there) if path.name.swapcase() != path.name), None)
    if named is None:
        return False
    other = named.with_name(named.name.swapcase())
    return other.exists() and other.samefile(named)


def _names(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from islice(folder.iterdir(), _LOOKED_AT)
    yield folder
