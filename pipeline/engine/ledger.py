"""The ledger of a run: its fingerprint, and which slabs are safe on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import OutputError
from pipeline.files.atomic import atomic_write
from pipeline.geometry import Box, covered

Fingerprint = Mapping[str, Any]
"""Everything that decides the bytes of an output, as JSON values by name."""

_RUN, _DONE = "run.json", "done"


class Ledger:
    """A folder with the fingerprint of a run, and an empty file for each slab that is done.

    Many workers may mark slabs at the same time: each slab has one writer, and a file either exists or does not.
    """

    def __init__(self, folder: Path) -> None:
        """Open the ledger in `folder`; `begin` creates it."""
        self._folder = folder

    @property
    def begun(self) -> bool:
        """Whether a run has begun here."""
        return (self._folder / _RUN).exists()

    def begin(self, fingerprint: Fingerprint) -> None:
        """Write the fingerprint of a new run: the last step of its preparation, since only this makes a ledger."""
        (self._folder / _DONE).mkdir(parents=True, exist_ok=True)
        with atomic_write(self._folder / _RUN) as draft:
            draft.write_text(json.dumps(fingerprint, indent=1), encoding="utf-8")

    def check(self, fingerprint: Fingerprint) -> None:
        """Check that the run that was begun here has this fingerprint.

        Raises:
            OutputError: if it has another one; the message gives each setting that differs, with both values.

        """
        if differing := self.differences(fingerprint):
            raise OutputError(
                f"{self._folder}: an unfinished run here used other settings: {differing}. "
                "Rerun with the same settings to resume, or with --restart to start over"
            )

    def differences(self, fingerprint: Fingerprint) -> str:
        """Return the settings in which the run begun here differs from another; empty if there are none."""
        return differences(self.fingerprint, fingerprint)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The fingerprint of the run begun here."""
        found: dict[str, Any] = json.loads((self._folder / _RUN).read_text(encoding="utf-8"))
        return found

    @property
    def any_done(self) -> bool:
        """Whether any slab is done."""
        return (self._folder / _DONE).is_dir() and any((self._folder / _DONE).iterdir())

    def done(self, slabs: Iterable[Box]) -> set[Box]:
        """Return those of `slabs` that are safe on disk, whatever the size of the slabs that were marked."""
        return covered(slabs, [_marked(file.name) for file in (self._folder / _DONE).iterdir()])

    def mark(self, slab: Box) -> None:
        """Record that the bytes of `slab` are safe on disk."""
        os.close(os.open(self._folder / _DONE / _mark(slab), os.O_CREAT | os.O_WRONLY, 0o644))


def differences(before: Fingerprint, now: Fingerprint) -> str:
    """Return the fields in which two fingerprints differ, with both values; empty if they are equal."""
    before, now = flat(before), flat(json.loads(json.dumps(now)))
    return ", ".join(
        f"{name} {before.get(name)!r} (now {now.get(name)!r})"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    )


def flat(record: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Flatten nested mappings into one with dotted names."""
    fields: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            fields |= flat(value, f"{place}{name}.")
        else:
            fields[f"{place}{name}"] = value
    return fields


def _mark(slab: Box) -> str:
    return "_".join(f"{start}-{stop}" for start, stop in zip(slab.start, slab.stop, strict=True))


def _marked(name: str) -> Box:
    start, stop = zip(*(map(int, part.split("-")) for part in name.split("_")), strict=True)
    return Box(tuple(start), tuple(stop))
