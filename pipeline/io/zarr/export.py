"""A store of unfinished work as one to publish: without checksums, which not every reader knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pipeline.files.atomic import sync
from pipeline.io.zarr.deflate import CHECKSUM
from pipeline.io.zarr.writer import SlabStore

_CODEC = "crc32c"


def export_store(work: Path, path: Path) -> None:
    """Copy the store `work` to `path`, which does not exist: its metadata and chunks, and no other file.

    The bytes are those of a store that was created without checksums, and safe on the disk when this returns.

    Raises:
        DamagedError: If a chunk is not as it was written.
        OSError: If the operating system refuses.

    """
    store = SlabStore(work)
    store.read_through(store.whole)
    for file, content in _contents(store):
        copy = path / file.relative_to(work)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
        sync(copy)
    for folder in {path, *(inside for inside in path.rglob("*") if inside.is_dir())}:
        sync(folder)


def _contents(store: SlabStore) -> Iterator[tuple[Path, bytes]]:
    """The files to write, by where they are read from."""
    for file in store.metadata_files():
        yield file, _without_checksum(file.read_bytes()) if file == store.array_metadata else file.read_bytes()
    surplus = CHECKSUM if store.checksums else 0
    for chunk in filter(Path.exists, store.chunk_files(store.whole)):
        content = chunk.read_bytes()
        yield chunk, content[: len(content) - surplus]


def _without_checksum(metadata: bytes) -> bytes:
    """The metadata of an array, as zarr writes it, without the codec of checksums."""
    said = json.loads(metadata)
    codecs = [codec for codec in said["codecs"] if codec["name"] != _CODEC]
    return json.dumps({**said, "codecs": codecs}, indent=2).encode()
