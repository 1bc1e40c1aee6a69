"""JSON files that carry a digest of what they say, so that damage to them is noticed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipeline.errors import DamagedError
from pipeline.files.atomic import atomic_write

SEAL = "sha256"
"""Last key of a sealed file: the SHA-256 of everything before it."""


def write_sealed(path: Path, record: Mapping[str, Any]) -> None:
    """Write JSON values, by name, with their digest; the file appears under its name once it is safe on the disk.

    Raises:
        OutputError: If the operating system refuses.

    """
    with atomic_write(path) as draft:
        draft.write_text(seal(record), encoding="utf-8")


def seal(record: Mapping[str, Any]) -> str:
    """Return JSON values, by name, with their digest, as the text of a file."""
    return json.dumps({**record, SEAL: _digest(record)}, indent=1)


def read_sealed(path: Path) -> dict[str, Any]:
    """Return the record in a sealed file; a file of an earlier version, without a digest, is returned as it is.

    Raises:
        DamagedError: If it is empty, cut, changed, or cannot be read.

    """
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(f"{path}: is damaged ({error})") from error
    if not isinstance(found, dict):
        raise DamagedError(f"{path}: is damaged (holds a {type(found).__name__} where names and values are expected)")
    record = dict(list(found.items())[:-1])
    if found and list(found.values())[-1] == _digest(record):
        return record
    if SEAL in found:
        raise DamagedError(f"{path}: is damaged (its digest is of other values)")
    return found


def _digest(record: Mapping[str, Any]) -> str:
    return sha256(json.dumps(dict(record), sort_keys=True).encode()).hexdigest()
