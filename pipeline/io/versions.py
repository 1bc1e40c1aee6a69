"""Whether an input is still what it was when it was opened: by its files here, and by what servers report."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import CHANGED, UNREACHABLE, InputError, PipelineError
from pipeline.files.times import readable_time
from pipeline.io.address import file_of_subdataset
from pipeline.io.formats import Input, look
from pipeline.io.opening import input_version


@dataclass(frozen=True)
class FileState:
    """The state of the files that an input is read from."""

    bytes: int
    """Of all files."""
    changed_ns: int
    """When the last of them changed."""
    digest: str
    """Of the path, size, time of change and inode of each."""

    def __str__(self) -> str:
        return f"{self.bytes:,} bytes of {readable_time(self.changed_ns)}"


@dataclass(frozen=True)
class Snapshot:
    """The states of the local files of an input, by the path of each raster of it; None: there is none."""

    files: Mapping[str, FileState | None] = field(default_factory=dict)


UNSEEN = Snapshot()
"""Of an input of which nothing is known, and which counts as unchanged."""


def snapshot(item: Input) -> Snapshot:
    """Return the state of an input's local files without reading their pixels; servers are not asked."""
    return Snapshot({leaf.text: _state(leaf) for leaf in _leaves(item) if not leaf.remote})


def check_unchanged(item: Input, before: Snapshot, version: Mapping[str, Any], series: str | None = None) -> None:
    """Check that an input is what it was when its `snapshot` and its `input_version` were taken.

    Raises:
        InputError: It changed, with the code `CHANGED`; or it is gone, or its server does not answer: `UNREACHABLE`.

    """
    after = snapshot(item).files
    for path, state in before.files.items():
        if state is not None and not (file_of_subdataset(path) or Path(path)).exists():
            raise InputError(
                f"{path}: is no longer there, so it is not known whether it changed while it was read; no mask is "
                "written; put it back and run the same command again to continue",
                UNREACHABLE,
            )
        if after.get(path) != state:
            raise _changed(path, f"had {state}, and has {after.get(path)}")
    if any(leaf.remote for leaf in _leaves(item)):
        _check_served(item.name, version, input_version(item, series))


def _changed(name: str, how: str) -> InputError:
    return InputError(
        f"{name}: changed while it was read: {how}; no mask is written; run the same command again to start over",
        CHANGED,
    )


def _leaves(item: Input) -> Iterator[Input]:
    """The inputs that an input is made of: rasters of a stack, tiles of a mosaic, or itself."""
    for _, part in item.parts:
        yield from _leaves(part)
    if item.parts:
        return
    with suppress(PipelineError):
        scenes = list(item.format.scenes(item))
        yield from [item] if scenes == [item] else (leaf for scene in scenes for leaf in _leaves(look(scene)))


def _state(item: Input) -> FileState | None:
    files = sorted(set(_files(item)))
    try:
        about = [file.stat() for file in files]
    except OSError:
        return None
    if not about:
        return None
    listed = [(str(file), one.st_size, one.st_mtime_ns, one.st_ino) for file, one in zip(files, about, strict=True)]
    digest = hashlib.sha256(repr(listed).encode(errors="surrogateescape")).hexdigest()
    return FileState(sum(one.st_size for one in about), max(one.st_mtime_ns for one in about), digest)


def _files(item: Input) -> Iterator[Path]:
    """All files that are read, as far as the format can tell; hidden ones are of other programs."""
    with suppress(PipelineError):
        yield from (file for file in item.paths if not file.is_dir())
        also = item.format.also_read(item)
        yield from (file for file in also if not file.name.startswith(".") and not file.name.endswith(".aux.xml"))


def _check_served(item: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Compare what servers report both times; what they report only once, or never, says nothing."""
    for one, other in zip(_reports(before), _reports(after), strict=False):
        for name in sorted(one.keys() & other.keys()):
            if one[name] != other[name]:
                raise _changed(
                    other.get("name", item), f"was served with {name} {one[name]}, and is with {other[name]}"
                )


def _reports(version: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(version.get("parts", [version]))
