"""The voxels of a volume as a stream: decompressed in one forward pass, checked to the end. Only here is isal used."""

from __future__ import annotations

import threading
import zlib
from dataclasses import dataclass, replace
from io import SEEK_END, SEEK_SET, BufferedIOBase, BytesIO, RawIOBase
from typing import Any, Literal, cast

import numpy as np
from isal import igzip, igzip_lib
from numpy.typing import NDArray

from pipeline.engine.protocols import Pixels, Source, SourceInfo
from pipeline.errors import InputError
from pipeline.geometry import Box, Grid
from pipeline.io.remote_files import File
from pipeline.sources.validity import is_plausible, valid_mask

UNREADABLE = (OSError, EOFError, zlib.error, cast("type[Exception]", igzip_lib.IsalError))
"""What a `ByteStream` raises where the bytes are damaged, missing or inaccessible."""

_GZIP_MAGIC = b"\x1f\x8b"
MOST_PER_PACKED_BYTE = 1032
"""Most bytes that deflate can encode in one (zlib's technical notes)."""
MOST_UNPACKED, MOST_AFTER = 64 << 30, 64 << 20
"""Most bytes of a packed volume, and of what may follow its voxels."""
_GIB = 1 << 30
_PIECE = 1 << 20
_Readable = RawIOBase | BufferedIOBase


Packing = Literal["raw", "gzip", "zlib"]
_WBITS = {"gzip": 31, "zlib": 15}
"""What zlib is to expect around the packed data."""


class ByteStream:
    """Bytes of a file, unpacked: read at any place, from any thread, one read at a time.

    In a packed file, reading onward decodes onward; reading backward starts over, which is slow.
    """

    def __init__(self, file: BufferedIOBase, most: int, *, start: int = 0, unpacked: _Readable | None = None) -> None:
        """Take over an open `file`: its bytes from `start` on, or what is `unpacked` from them."""
        self._file = file
        self._bytes: _Readable = file if unpacked is None else unpacked
        self._start = start
        self._lock = threading.Lock()
        self.packed = unpacked is not None
        self.most = most
        """Bytes that the stream can hold at most; exactly that many where it is not packed."""
        self._end = MOST_UNPACKED

    def expect(self, needed: int) -> None:
        """Set how many bytes of the stream are needed; those that follow are only read for the checksum.

        Raises:
            InputError: They are more than are unpacked at most.

        """
        if self.packed and needed > MOST_UNPACKED:
            raise InputError(
                f"unpacks to {needed / _GIB:,.1f} GiB, and the most is {MOST_UNPACKED / _GIB:,.0f}; unpack it first, "
                "e.g. with `gunzip`",
                "unsuitable",
            )
        self._end = needed + MOST_AFTER

    def read_into(self, offset: int, target: memoryview, *, last: bool = False) -> None:
        """Fill `target` from byte `offset` on; with `last`, read on to the end, so that the checksum is checked.

        Raises one of `UNREADABLE` where the bytes end early or are damaged.
        """
        with self._lock:
            self._fill(offset, target)
            if last and self.packed:
                self._drain(offset + len(target))

    def close(self) -> None:
        """Release the file; further reads raise ValueError."""
        self._bytes.close()
        self._file.close()

    def _fill(self, offset: int, target: memoryview) -> None:
        self._bytes.seek(self._start + offset)
        filled = 0
        while filled < len(target):
            count = self._bytes.readinto(target[filled:])
            if not count:
                raise EOFError(f"the data end after {offset + filled} bytes, {offset + len(target)} are needed")
            filled += count

    def _drain(self, at: int) -> None:
        while piece := self._bytes.read(_PIECE):
            at += len(piece)
            if at > self._end:
                raise EOFError(f"more than {MOST_AFTER >> 20} MiB follow after the voxels")


def open_stream(path: File, start: int = 0, packing: Packing | None = None) -> ByteStream:
    """Open the bytes of a file from `start` on, packed as `packing` says.

    None: a whole file, gzip where its first bytes say so. Raises OSError, or RemoteError.
    """
    file = path.open("rb")
    try:
        size = max(0, file.seek(0, SEEK_END) - start)
        file.seek(0)
        unpacked = _gzip(file) if packing is None else _inflated(file, start, packing)
    except BaseException:
        file.close()
        raise
    if unpacked is None:
        return ByteStream(file, size, start=start)
    return ByteStream(file, size * MOST_PER_PACKED_BYTE, unpacked=unpacked)


def stream_of(block: bytes) -> ByteStream:
    """Return bytes in memory as a stream."""
    return ByteStream(BytesIO(block), len(block))


def _gzip(file: BufferedIOBase) -> _Readable | None:
    """A whole file unpacked, to the last of its members; None where it is not gzip."""
    packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    file.seek(0)
    return igzip.IGzipFile(fileobj=file) if packed else None


def _inflated(file: BufferedIOBase, start: int, packing: Packing) -> _Readable | None:
    return None if packing == "raw" else _InflateStream(file, start, _WBITS[packing])


class _InflateStream(RawIOBase):
    """Data that zlib unpacks from byte `start` of a file on; what follows them there is not looked at."""

    def __init__(self, file: BufferedIOBase, start: int, wbits: int) -> None:
        self._file = file
        self._start = start
        self._wbits = wbits
        self._begin()

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:  # noqa: ANN401  (a buffer of any kind)
        """Fill up to a whole `target`: at least a byte, unless the data have ended and their checksum is right."""
        piece = self._next(len(target))
        target[: len(piece)] = piece
        return len(piece)

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Go to a place; one that was passed is met again from the start."""
        if offset < self._at:
            self._begin()
        while self._at < offset and self._next(offset - self._at):
            pass
        return self._at

    def _begin(self) -> None:
        self._file.seek(self._start)
        self._at = 0
        self._ready = b""
        self._inflate = zlib.decompressobj(self._wbits)

    def _next(self, most: int) -> bytes:
        while not self._ready and not self._inflate.eof:
            data = self._inflate.unconsumed_tail or self._file.read(_PIECE)
            if not data:
                raise EOFError(f"the packed data end early, after {self._at} bytes")
            self._ready = self._inflate.decompress(data, _PIECE)
        piece, self._ready = self._ready[:most], self._ready[most:]
        self._at += len(piece)
        return piece


@dataclass(frozen=True)
class VoxelLayout:
    """The layout of the voxels in the file, and the scale of their values."""

    stored: np.dtype[Any]
    """Type in the file, with its byte order: integers or floats."""
    offset: int
    """Byte of the unpacked file at which the first voxel begins."""
    scale: tuple[float, float] | None
    """Slope and intercept by which stored numbers become values; None: they are the values."""

    def after(self, count: int) -> VoxelLayout:
        """Return the layout from `count` voxels further on."""
        return replace(self, offset=self.offset + count * self.stored.itemsize)


class NiftiSource(Source):
    """A `Source` over one NIfTI volume: integers in their own type, else float32; implausible ones are not valid.

    Memory is the box that is read, and a plane. Reads of a damaged file raise InputError with the file and the slice;
    in a gzip file that may be only the read of the last slice, where the checksum is.
    """

    def __init__(self, path: File, stream: ByteStream, grid: Grid, voxels: VoxelLayout, volumes: int = 1) -> None:
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
        """Return the pixels of `box`, `(1, *box.shape)`. Thread-safe."""
        if not Box.whole(self.grid.shape).contains(box):
            raise ValueError(f"{box} is not within the shape {self.grid.shape}")
        values = np.empty((1, *box.shape), self.dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 becomes infinite, hence not valid
            for plane, z in zip(values[0], range(box.start[0], box.stop[0]), strict=True):
                plane[...] = self._scaled(self._rows(z, box.start[1], box.stop[1])[:, box.start[2] : box.stop[2]])
        return Pixels(values, is_plausible(values[0]) if self._voxels.stored.kind == "f" else valid_mask(values))

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
