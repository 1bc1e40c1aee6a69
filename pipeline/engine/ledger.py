"""The ledger of a run: its fingerprint, and which slabs are safe on disk."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipeline.errors import OutputError
from pipeline.files.atomic import remove
from pipeline.files.sealed import read_sealed, seal, write_sealed
from pipeline.files.times import readable_time
from pipeline.geometry import Box, covered

Fingerprint = Mapping[str, Any]
"""Everything that decides the bytes of an output, as JSON values by name."""

ORIGIN = ("hub",)
"""Fields of a fingerprint that tell where something is from; where all others agree, the bytes are the same."""
_RUN, _DONE, _TIME = "run.json", "done", "changed_ns"
_PARTS, _SERVED = "input.parts", ("input.bytes", "input.etag", "input.changed")
"""Fields of a fingerprint: the versions of the rasters of a stack, and what servers may report of an input."""
_MARK = re.compile(r"[0-9]+-[0-9]+(_[0-9]+-[0-9]+)*")
"""Name of a mark: the slab's range along each axis. Other files in the folder are not ours and are left alone."""


class Ledger:
    """A folder with the fingerprint of a run, and a mark for each slab that is done: a file with digests of its chunks.

    Many workers may mark slabs at the same time: each slab has one writer, and a mark either exists or does not.
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
        write_sealed(self._folder / _RUN, fingerprint)

    def check(self, fingerprint: Fingerprint, hint: str = "") -> None:
        """Check that the run that was begun here has this fingerprint; `hint` is how to continue it.

        Raises:
            OutputError: if it has another one; the message gives each setting that differs, with both values.

        """
        if differing := differences(self.fingerprint, fingerprint):
            raise OutputError(
                f"{self._folder}: an unfinished run here used other settings: {differing}. "
                f"Rerun with the same settings{hint} to resume, or with --restart to start over"
            )

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The fingerprint of the run begun here.

        Raises:
            DamagedError: If its file is damaged.

        """
        return read_sealed(self._folder / _RUN)

    @property
    def any_done(self) -> bool:
        """Whether any slab is done."""
        return bool(self.marked)

    @property
    def marked(self) -> list[Box]:
        """The slabs that have a mark, in order."""
        with suppress(FileNotFoundError):
            return sorted(box for file in (self._folder / _DONE).iterdir() if (box := _marked(file.name)) is not None)
        return []

    def done(self, slabs: Iterable[Box]) -> set[Box]:
        """Return those of `slabs` that are safe on disk, whatever the size of the slabs that were marked."""
        return covered(slabs, self.marked)

    def mark(self, slab: Box, digests: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Record that the bytes of `slab` are safe on disk, with `digests` (JSON values) of its chunks.

        A mark that is cut by a crash counts as damaged.
        """
        mark = self.mark_file(slab)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(seal(digests), encoding="utf-8")

    def mark_file(self, slab: Box) -> Path:
        """Return the file that marks a slab."""
        return self.marks / _mark(slab)

    @property
    def marks(self) -> Path:
        """The folder of the marks."""
        return self._folder / _DONE

    def digests(self, slab: Box) -> dict[str, Any] | None:
        """Return the digests with which `slab` was marked; None if it was marked without, by an earlier version.

        Raises:
            DamagedError: If its mark is damaged.

        """
        mark = self.mark_file(slab)
        return read_sealed(mark) if mark.stat().st_size else None

    def unmark(self, slab: Box) -> None:
        """Take away the mark of `slab`, which is computed again."""
        remove(self.mark_file(slab))


def is_mark(file: Path) -> bool:
    """Return whether a file is named like a mark, in a folder of marks."""
    return file.parent.name == _DONE and _marked(file.name) is not None


def differences(before: Fingerprint, now: Fingerprint) -> str:
    """Return the fields in which two fingerprints differ, with both values; empty if they stand for the same bytes."""
    before, now = flat(before), flat(json.loads(json.dumps(now)))
    names = [name for name in sorted({*before, *now}) if _is_other(name, before.get(name), now.get(name))]
    if all(name in ORIGIN for name in names):
        return ""
    return ", ".join(
        f"{name} {_readable(name, before.get(name))} (now {_readable(name, now.get(name))})" for name in names
    )


def _is_other(name: str, before: Any, now: Any) -> bool:  # noqa: ANN401  (JSON of any kind)
    """Whether a field has changed: what a server reports of an input now, and did not before, says nothing."""
    if name == _PARTS and isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return any(_is_other(name, *pair) for pair in zip(before, now, strict=True))
    if name == _PARTS and isinstance(before, dict) and isinstance(now, dict):
        return any(_is_other(f"input.{key}", before.get(key), now.get(key)) for key in {*before, *now})
    return bool(before != now) and not (name in _SERVED and before is None)


def _readable(name: str, value: Any) -> str:  # noqa: ANN401  (JSON of any kind)
    """A value in a message: times of change as dates."""
    if name.endswith(_TIME) and isinstance(value, int):
        return readable_time(value)
    if isinstance(value, list):
        return f"[{', '.join(_readable(name, one) for one in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_readable(key, one)}' for key, one in value.items())}}}"
    return repr(value)


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


def _marked(name: str) -> Box | None:
    """The slab whose mark has this name; None if it is not the name of a mark."""
    if not _MARK.fullmatch(name):
        return None
    start, stop = zip(*(map(int, part.split("-")) for part in name.split("_")), strict=True)
    return Box(start, stop) if all(a < b for a, b in zip(start, stop, strict=True)) else None
