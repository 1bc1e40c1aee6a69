"""A store that is open for writing: each slab of whole chunks once, by one writer, and safe before it returns."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import chain, product
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec

from pipeline.errors import DamagedError, OutputError
from pipeline.files.atomic import sync
from pipeline.files.digest import sha256_of
from pipeline.geometry import Box
from pipeline.io.tiles import TILE
from pipeline.io.zarr.attributes import OURS
from pipeline.io.zarr.deflate import CHECKSUM, DeflateCodec, write_tile
from pipeline.io.zarr.overview import BLOCK, overview_in
from pipeline.io.zarr.work import WorkSource

_SYNCED = 8
"""Files that are flushed at a time: each waits for the disk, which does several at once."""
_METADATA, _CHUNKS = "zarr.json", "c"
"""Metadata of an array or group; the folder with the chunks of an array, or the only chunk of one without axes."""


class SlabStore:
    """A store of labels, a layer or scores that is open for writing."""

    def __init__(self, path: Path) -> None:
        """Open the store that `create_labels`, `create_layer` or `create_scores` made at `path`.

        Raises:
            DamagedError: It cannot be opened.

        """
        try:
            root = zarr.open_group(path, mode="r+")
            record: Any = root.attrs[OURS]
            self._folder: Path = path / record["array"]
            array = root[record["array"]]
            self.overview = overview_in(root, path, array) if _is_tiled(array) else None
            """The overview that is made of each slab as it is written; None in stores without one."""
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise DamagedError(f"{path}: is not an unfinished mask ({error!r}); start over with --restart") from error
        if not isinstance(array, zarr.Array):
            raise DamagedError(f"{path}: {record['array']} is not an array; start over with --restart")
        self.path, self._array = path, array

    @property
    def checksums(self) -> bool:
        """Whether each chunk ends with a checksum; stores of earlier versions, and published masks, have none."""
        return any(isinstance(codec, Crc32cCodec) for codec in self._array.compressors)

    @property
    def tiled(self) -> bool:
        """Whether chunks are tiles of a GeoTIFF."""
        return _is_tiled(self._array)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(self._array.dtype)

    @property
    def whole(self) -> Box:
        """The whole array, its planes first."""
        return Box.whole(self._array.shape)

    @property
    def array_metadata(self) -> Path:
        """The file with the metadata of the array."""
        return self._folder / _METADATA

    def chunk_files(self, slab: Box) -> Iterator[Path]:
        """Return the files of the chunks that hold cells of a slab, in order; those of nodata alone are not stored."""
        return map(self.chunk_file, self._chunks(self._planes(slab)))

    def all_chunk_files(self, slab: Box) -> Iterator[Path]:
        """Return the files of the chunks of a slab, and of its overview."""
        return chain(self.chunk_files(slab), self.overview.chunk_files(slab) if self.overview else ())

    def write(self, slab: Box, values: NDArray[Any]) -> None:
        """Write `values` `(*planes, *slab.shape)` of a slab that ends where chunks end.

        They are safe on the disk when this returns.
        """
        whole = self._planes(slab)
        self._check(whole, values)
        try:
            if self.tiled:
                self._write_tiles(whole, values.astype(self.dtype, copy=False))
            else:
                self._array[whole.slices] = values
            self._sync(whole)
        except OSError as error:
            raise OutputError(f"{self._folder}: cannot be written ({error.strerror or error})") from error

    def digests(self, slab: Box) -> dict[str, str | None]:
        """Return what identifies each file that a slab is read from, by its path below the store, as JSON values.

        A chunk has its size and its own checksum, or None if it is not stored, as it is nodata alone. Empty for a store
        without checksums.
        """
        if not self.checksums:
            return {}
        chunks = {str(file.relative_to(self.path)): _tail(file) for file in self.all_chunk_files(slab)}
        return {**self._metadata, **chunks}

    def check(self, slab: Box, digests: Mapping[str, Any], *, read: bool) -> None:
        """Check that a slab is as it was when its `digests` were taken; `read` also checks every byte of its chunks.

        Raises:
            DamagedError: A chunk or the store's metadata is gone, cut, changed, or another one.

        """
        inside = len(slab.stop) <= self._array.ndim and slab.clip(self._extent(slab)) == slab
        if not inside or self.digests(slab) != digests:
            raise DamagedError(f"{self._folder}: {slab} is not as it was written")
        if read:
            self.read_through(slab)

    def read_through(self, slab: Box) -> None:
        """Read every stored chunk of a slab, which checks its checksum; raises DamagedError."""
        stored = (index for index in self._chunks(self._planes(slab)) if self.chunk_file(index).exists())
        for cells in dict.fromkeys(self._cells(index, slab) for index in stored):
            self._source.read(cells)
        if self.overview:
            self.overview.read_through(slab)

    def _write_tiles(self, slab: Box, values: NDArray[Any]) -> None:
        nodata = int(self._array.fill_value)

        def write(index: tuple[int, ...]) -> None:
            cells = Box(tuple(at * TILE for at in index), tuple((at + 1) * TILE for at in index)).clip(slab)
            inside = tuple(
                slice(a - top, b - top) for a, b, top in zip(cells.start, cells.stop, slab.start, strict=True)
            )
            write_tile(self.chunk_file(index), values[inside], nodata)

        with ThreadPoolExecutor(os.cpu_count() or 1, "pack") as pool:
            list(pool.map(write, self._chunks(slab)))
        if self.overview:
            self.overview.write(slab, values)

    def _extent(self, slab: Box) -> Box:
        return Box.whole(self._array.shape[self._array.ndim - len(slab.start) :])

    def _planes(self, slab: Box) -> Box:
        """The slab with all planes of the array before its axes."""
        planes = self._array.shape[: self._array.ndim - len(slab.start)]
        return Box((*(0 for _ in planes), *slab.start), (*planes, *slab.stop))

    def _check(self, slab: Box, values: NDArray[Any]) -> None:
        if values.shape != slab.shape or not np.can_cast(values.dtype, self._array.dtype, "safe"):
            raise OutputError(
                f"{self._folder}: {values.dtype} of shape {values.shape} do not fit {slab} of {self._array.dtype}"
            )
        sides = (BLOCK, BLOCK) if self.overview else self._array.chunks
        for start, stop, side, size in zip(slab.start, slab.stop, sides, self._array.shape, strict=True):
            if start % side or (stop % side and stop != size):
                raise OutputError(f"{self._folder}: {slab} would share chunks of {sides} with another slab")

    def _chunks(self, slab: Box) -> Iterator[tuple[int, ...]]:
        """Indices of the chunks of a slab."""
        sides = zip(slab.start, slab.stop, self._array.chunks, strict=True)
        return product(*(range(start // side, -(-stop // side)) for start, stop, side in sides))

    def _cells(self, index: tuple[int, ...], slab: Box) -> Box:
        """The cells of a chunk that are in a slab, without the planes before the axes of the grid."""
        axes = len(self._source.grid.shape)
        sides = list(zip(index, self._array.chunks, strict=True))[-axes:]
        cells = Box(tuple(at * side for at, side in sides), tuple((at + 1) * side for at, side in sides))
        return cells.clip(Box(slab.start[-axes:], slab.stop[-axes:]))

    def chunk_file(self, index: tuple[int, ...]) -> Path:
        """Return the file of a chunk, whether it is stored or not."""
        return self._folder.joinpath(_CHUNKS, *map(str, index))

    @cached_property
    def _source(self) -> WorkSource:
        return WorkSource(self.path)

    @cached_property
    def _metadata(self) -> dict[str, str | None]:
        """SHA-256 of each file of the store that is no chunk of its array: metadata, coordinates and headers."""
        return {str(file.relative_to(self.path)): sha256_of(file) for file in self.metadata_files()}

    def metadata_files(self) -> list[Path]:
        """Return the files of the store that are no chunks of its array, in order, without those of other programs."""
        found, folders = list[Path](), [self._folder, *(self.overview.folders if self.overview else ())]
        for folder, below, files in os.walk(self.path):
            here = Path(folder)
            if here in folders and _CHUNKS in below:
                below.remove(_CHUNKS)
            ours = _CHUNKS in here.relative_to(self.path).parts
            found += [here / name for name in files if name in (_METADATA, _CHUNKS) or (ours and _is_chunk(name))]
        return sorted(found)

    def _sync(self, slab: Box) -> None:
        files = [file for file in self.all_chunk_files(slab) if file.exists()]
        folders = {folder for file in files for folder in file.parents[: self._array.ndim]}
        with ThreadPoolExecutor(_SYNCED, "sync") as pool:
            list(pool.map(sync, (*files, *folders)))


def _is_tiled(array: object) -> TypeGuard[zarr.Array[Any]]:
    return isinstance(array, zarr.Array) and any(isinstance(codec, DeflateCodec) for codec in array.compressors)


def _is_chunk(name: str) -> bool:
    """Whether a file in a folder of chunks is one: others may be temporary, or of the operating system."""
    return name.isdecimal()


def _tail(chunk: Path) -> str | None:
    """Size and checksum of a chunk, which are its last bytes; None if it is not there."""
    try:
        with chunk.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - CHECKSUM))
            return f"{size} {file.read().hex()}"
    except FileNotFoundError:
        return None
