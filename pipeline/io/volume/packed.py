"""The voxels inside a file, from a byte on: as they are, or unpacked in one forward pass and checked to the end."""

from __future__ import annotations

import threading
import zlib
from pathlib import Path
from typing import Literal

from pipeline.io.volume.stream import MOST_PER_PACKED_BYTE

Packing = Literal["raw", "gzip", "zlib"]
_WBITS = {"gzip": 31, "zlib": 15}
_PIECE = 1 << 20


class Stretch:
    """Bytes of a file from `offset` on, unpacked; any place, any thread, one read at a time.

    In a packed file, reading onward decodes onward; reading backward begins again at the start: right, but slow.
    """

    def __init__(self, path: Path, offset: int, packing: Packing) -> None:
        self._file = path.open("rb")
        self._lock = threading.Lock()
        self._offset = offset
        self._packing = packing
        self.packed = packing != "raw"
        stored = max(0, path.stat().st_size - offset)
        self.most = stored * MOST_PER_PACKED_BYTE if self.packed else stored
        """Bytes that the stretch can hold at most; exactly that many where it is not packed."""
        self._begin()

    def read_into(self, offset: int, target: memoryview, *, last: bool = False) -> None:
        """Fill `target`, bytes, from `offset` on; `last`: read on to the end, so that its checksum is seen to.

        Raises OSError, EOFError or zlib.error where the bytes end early or are damaged.
        """
        with self._lock:
            self._seek(offset)
            filled = 0
            while filled < len(target):
                piece = self._next(len(target) - filled)
                target[filled : filled + len(piece)] = piece
                filled += len(piece)
            while last and self.packed and not (self._inflate.eof and not self._ready):
                self._next(_PIECE, ended=True)

    def close(self) -> None:
        """Release the file; further reads raise ValueError."""
        self._file.close()

    def _begin(self) -> None:
        self._file.seek(self._offset)
        self._at = 0
        self._ready = b""
        if self.packed:
            self._inflate = zlib.decompressobj(_WBITS[self._packing])

    def _seek(self, offset: int) -> None:
        if not self.packed:
            self._file.seek(self._offset + offset)
            self._at = offset
            return
        if offset < self._at:
            self._begin()
        while self._at < offset:
            self._next(offset - self._at)

    def _next(self, most: int, *, ended: bool = False) -> bytes:
        """Up to `most` of the bytes that follow: at least one, unless they have `ended` and their checksum is right."""
        if not self.packed:
            piece = self._file.read(min(most, _PIECE))
        else:
            piece, self._ready = self._unpacked()[:most], self._ready[most:]
        if not piece and not (ended and self._inflate.eof):
            raise EOFError(f"the data end after {self._at} bytes, more are needed")
        self._at += len(piece)
        return piece

    def _unpacked(self) -> bytes:
        while not self._ready and not self._inflate.eof:
            data = self._inflate.unconsumed_tail or self._file.read(_PIECE)
            if not data:
                break
            self._ready = self._inflate.decompress(data, _PIECE)
        return self._ready
