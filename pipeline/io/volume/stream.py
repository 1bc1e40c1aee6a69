"""The voxels of a NIfTI file as a stream: unpacked in one forward pass, checked to the end. The only room of isal."""

from __future__ import annotations

import os
import threading
import zlib
from dataclasses import dataclass, replace
from io import BufferedIOBase
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from isal import igzip, igzip_lib
from numpy.typing import NDArray

from pipeline.engine.protocols import Pixels, Source, SourceInfo
from pipeline.errors import InputError
from pipeline.geometry import Box, Grid

UNREADABLE = (OSError, EOFError, zlib.error, cast("type[Exception]", igzip_lib.IsalError))
"""What a `Stream` raises where the bytes are damaged, missing or not to be had."""

_GZIP_MAGIC = b"\x1f\x8b"
MOST_PER_PACKED_BYTE = 1032
"""Deflate cannot stand for more bytes than this with one byte (zlib's technical notes)."""
_PIECE = 1 << 20


class Stream(Protocol):
    """Bytes that can be read at any place, as `ByteStream` has them."""

    packed: bool

    def read_into(self, offset: int, target: memoryview, *, last: bool = False) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class ByteStream:
    """The bytes of a file, unpacked where its first bytes say gzip; any place, any thread, one read at a time.

    In a gzip file, reading onward decodes onward; reading backward begins again at the start, which is right but slow.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._lock = threading.Lock()
        try:
            self.packed = self._file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        except OSError:
            self._file.close()
            raise
        size = os.fstat(self._file.fileno()).st_size
        self.most = size * MOST_PER_PACKED_BYTE if self.packed else size
        """Bytes that the stream can hold at most; exactly that many where it is not packed."""
        self._file.seek(0)
        self._bytes: BufferedIOBase = igzip.IGzipFile(fileobj=self._file) if self.packed else self._file

    def read_into(self, offset: int, target: memoryview, *, last: bool = False) -> None:
        """Fill `target`, bytes, from `offset` on; `last`: read on to the end, so that gzip checks its CRC and length.

        Raises one of `UNREADABLE` where the bytes end early or are damaged.
        """
        with self._lock:
            self._fill(offset, target)
            if last and self.packed:
                self._drain()

    def close(self) -> None:
        """Release the file; further reads raise ValueError."""
        self._bytes.close()
        self._file.close()

    def _fill(self, offset: int, target: memoryview) -> None:
        self._bytes.seek(offset)
        filled = 0
        while filled < len(target):
            count = self._bytes.readinto(target[filled:])
            if not count:
                raise EOFError(f"the data end after {offset + filled} bytes, {offset + len(target)} are needed")
            filled += count

    def _drain(self) -> None:
        while self._bytes.read(_PIECE):
            pass


@dataclass(frozen=True)
class Voxels:
    """How the voxels lie in the file, and what their numbers mean."""

    stored: np.dtype[Any]
    """Type in the file, with its byte order: integers or floats."""
    offset: int
    """Byte of the unpacked file at which the first voxel begins."""
    scale: tuple[float, float] | None
    """Slope and intercept by which stored numbers become values; None: they are the values."""

    def after(self, count: int) -> Voxels:
        """The voxels that lie `count` further on."""
        return replace(self, offset=self.offset + count * self.stored.itemsize)


class NiftiSource(Source):
    """A `Source` over one NIfTI volume: integers in their own type, else float32; NaN and infinity are not valid.

    Memory is the box that is read, and a plane. Reads of a damaged file raise InputError with the file and the slice;
    in a gzip file that may be only the read of the last slice, where the checksum is.
    """

    def __init__(self, path: Path, stream: Stream, grid: Grid, voxels: Voxels, volumes: int = 1) -> None:
        self._path = path
        self._stream = stream
        self._voxels = voxels
        whole = voxels.stored.kind in "iu" and voxels.scale is None
        self.info = SourceInfo(
            grid=grid,
            channels=1,
            dtype=voxels.stored.newbyteorder("=") if whole else np.dtype(np.float32),
            block=(1, *grid.shape[1:]),
            sequential=stream.packed,
            volumes=volumes,
            path=str(path),
        )

    def read(self, box: Box) -> Pixels:
        """Pixels of `box`; values of shape `(1, *box.shape)`, valid only for files of floats. Thread-safe."""
        if not Box.whole(self.grid.shape).holds(box):
            raise ValueError(f"{box} does not lie within the shape {self.grid.shape}")
        values = np.empty((1, *box.shape), self.dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 becomes infinite, hence not valid
            for plane, z in zip(values[0], range(box.start[0], box.stop[0]), strict=True):
                plane[...] = self._scaled(self._rows(z, box.start[1], box.stop[1])[:, box.start[2] : box.stop[2]])
        return Pixels(values, np.isfinite(values[0]) if self._voxels.stored.kind == "f" else None)

    def close(self) -> None:
        """Release the file; further reads raise ValueError."""
        self._stream.close()

    def _rows(self, z: int, top: int, bottom: int) -> NDArray[Any]:
        depth, height, width = self.grid.shape
        item = self._voxels.stored.itemsize
        raw = np.empty((bottom - top) * width * item, np.uint8)
        start = self._voxels.offset + (z * height + top) * width * item
        try:
            self._stream.read_into(start, raw.data, last=(z, bottom) == (depth - 1, height))
        except UNREADABLE as error:
            raise InputError(
                f"{self._path}: damaged at or before slice {z} (of {depth}, counted from 0): {error}; "
                "fetch the file again from where it came"
            ) from error
        return raw.view(self._voxels.stored).reshape(bottom - top, width)

    def _scaled(self, stored: NDArray[Any]) -> NDArray[Any]:
        if self._voxels.scale is None:
            return stored
        slope, inter = self._voxels.scale
        scaled: NDArray[np.float64] = np.multiply(stored, slope, dtype=np.float64)
        scaled += inter
        return scaled  # a plane of float64, that is rounded to float32 only once
