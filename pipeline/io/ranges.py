"""Read a file on a server by ranges of its bytes, all of one version of it."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import SEEK_CUR, SEEK_END, SEEK_SET, BufferedReader, RawIOBase
from typing import Any, Protocol

from pipeline.errors import CHANGED, RemoteError

_LEAST, _MOST = 1 << 16, 8 << 20
"""Bytes of a request: of the first, and at most; they double as long as a reader goes on forward."""
_SKIP = 1 << 20
"""Most bytes between two reads that count as going on."""


@dataclass(frozen=True)
class Version:
    """What a server reports of a file."""

    size: int
    tag: str = ""
    """ETag; empty: it sends none."""
    changed: str = ""
    """Time of change, as it writes it; empty: it sends none."""

    def words(self) -> dict[str, Any]:
        """Return what is recorded with a run."""
        said = {"bytes": self.size, "etag": self.tag, "changed": self.changed}
        return {name: value for name, value in said.items() if value != ""}

    def difference(self, other: Version) -> str:
        """Return what differs, with both values; empty if nothing does that both have."""
        before, now = self.words(), other.words()
        named = (name for name in before.keys() & now.keys() if before[name] != now[name])
        return ", ".join(f"{name} {before[name]} before and {now[name]} now" for name in sorted(named))


class Ranges(Protocol):
    """A file on a server. Both calls raise RemoteError, with its address and a way out."""

    def version(self) -> Version:
        """Ask which version is there."""

    def read(self, version: Version, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to `stop`, or to the end, of this version and of no other."""


def changed(place: object, difference: str) -> RemoteError:
    """Return the error for a file that is not any more what it was when it was opened."""
    return RemoteError(
        f"{place}: changed while it was read{f' ({difference})' if difference else ''}; no mask is written; run the "
        "same command again to start over",
        CHANGED,
    )


def open_ranges(ranges: Ranges, version: Version) -> BufferedReader:
    """Open a version of a file for reading at any place; nothing is asked yet."""
    return BufferedReader(_Reader(ranges, version), _LEAST)


class _Reader(RawIOBase):
    """The bytes of a file: as it is read onward, more is asked for at once, and the next part ahead."""

    def __init__(self, ranges: Ranges, version: Version) -> None:
        self._ranges, self._version = ranges, version
        self._at = self._start = 0
        self._block = b""
        self._size = _LEAST
        self._ahead: tuple[int, Future[bytes]] | None = None
        self._pool: ThreadPoolExecutor | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Go to a place; nothing is asked."""
        self._at = offset + {SEEK_SET: 0, SEEK_CUR: self._at, SEEK_END: self._version.size}[whence]
        return self._at

    def readinto(self, target: Any) -> int:  # noqa: ANN401  (a buffer of any kind)
        """Fill `target` as far as one answer reaches: nothing only at the end."""
        if self._at >= self._version.size:
            return 0
        if not self._start <= self._at < self._start + len(self._block):
            self._fetch()
        first = self._at - self._start
        piece = memoryview(self._block)[first : first + len(target)]
        target[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def close(self) -> None:
        """Stop reading ahead."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._block, self._ahead = b"", None
        super().close()

    def _fetch(self) -> None:
        """Get the block that begins here, or that was asked for ahead."""
        onward = 0 <= self._at - self._start - len(self._block) <= _SKIP
        self._size = min(2 * self._size, _MOST) if onward and self._block else _LEAST
        if self._ahead is not None and self._ahead[0] <= self._at < self._ahead[0] + self._size // 2:
            (self._start, block), self._ahead = self._ahead, None
            self._block = block.result()
        if not self._start <= self._at < self._start + len(self._block):
            self._start, self._block = self._at, self._get(self._at, self._size)
        if onward and self._size == _MOST:
            self._read_ahead()

    def _get(self, start: int, size: int) -> bytes:
        return self._ranges.read(self._version, start, min(start + size, self._version.size))

    def _read_ahead(self) -> None:
        start = self._start + len(self._block)
        if start < self._version.size:
            self._pool = self._pool or ThreadPoolExecutor(1, "ahead")
            self._ahead = start, self._pool.submit(self._get, start, self._size)
