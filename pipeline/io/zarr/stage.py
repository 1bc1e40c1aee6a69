"""Copy a volume once into Zarr, where every view of it is cheap to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec

from pipeline.engine import Pixels, Source
from pipeline.errors import DamagedError, OutputError
from pipeline.files.atomic import remove
from pipeline.files.sealed import read_sealed, write_sealed
from pipeline.geometry import Box
from pipeline.io.zarr.attributes import own_record
from pipeline.io.zarr.work import WorkSource
from pipeline.io.zarr.writer import SlabStore
from pipeline.sources.passes import slabs

_SIDE = 64
_DIGESTS = ".json"
"""Suffix of the file beside the store with the digests of all chunks, which is written last."""


class StagedVolume(WorkSource):
    """The copy of a volume that `stage_volume` made. Every chunk of it is stored.

    Raises:
        DamagedError: The store, or a chunk that is read, is not as it was written, or is gone.

    """

    def __init__(self, path: Path, fetch: Callable[[list[Path]], None] = lambda files: None) -> None:
        """Open the copy at `path`; `fetch` is given the chunks that are about to be read, which may be elsewhere."""
        super().__init__(path)
        self._store, self._fetch = SlabStore(path), fetch

    def read(self, box: Box) -> Pixels:
        """Return the values of `box`, `(channels, *box.shape)`."""
        chunks = list(self._store.chunk_files(box))
        self._fetch(chunks)
        for chunk in chunks:
            if not chunk.exists():
                raise DamagedError(f"{chunk}: is gone")
        return super().read(box)

    def check(self) -> None:
        """Check every byte of the copy; raises DamagedError."""
        self._store.check(Box.whole(self.grid.shape), read_sealed(self._store.path.with_suffix(_DIGESTS)), read=True)


def stage_volume(source: Source, path: Path, look: Callable[[NDArray[Any]], None]) -> StagedVolume:
    """Copy `source` to a store at `path` in one forward pass, and open it; what is there is replaced.

    `look` is given the values of each slice as it goes by, `(channels, 1, rows, columns)`. Raises OutputError.
    """
    digests = path.with_suffix(_DIGESTS)
    try:
        remove(digests)
        array = _create(source, path)
        lead = (slice(None),) * (array.ndim - 3)
        for box, (values, _) in slabs(source, _SIDE):
            for index in range(values.shape[1]):
                look(values[:, index : index + 1])
            array[(*lead, *box.slices)] = values if lead else values[0]
        write_sealed(digests, SlabStore(path).digests(Box.whole(source.grid.shape)))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); is the disk full?") from error
    return StagedVolume(path)


def _create(source: Source, path: Path) -> zarr.Array[Any]:
    missing = source.info.nodata
    record = own_record(source.grid, "0", None if missing != missing else missing)  # NaN is recognized by itself
    root = zarr.create_group(path, zarr_format=3, attributes=record, overwrite=True)
    several = source.channels > 1
    return root.create_array(
        "0",
        shape=(*((source.channels,) if several else ()), *source.grid.shape),
        chunks=(*((1,) if several else ()), *(min(_SIDE, size) for size in source.grid.shape)),
        dtype=source.dtype,
        compressors=Crc32cCodec(),
        config={"write_empty_chunks": True},
        dimension_names=(*(("c",) if several else ()), *source.grid.axes),
    )
