"""Recognize DICOM by its first bytes, with or without preamble and meta group, and present any as a standard file.

Standard library only.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from typing import IO, Literal, NamedTuple

_PREAMBLE, _MAGIC = 128, b"DICM"
_META = 2
_FIRST_GROUPS = (0x0004, 0x0008)
"""Groups that a data set begins with: of a directory, else of the identification of an object."""
_SYNTAX, _STORED_CLASS, _CLASS = (2, 0x0010), (2, 0x0002), (8, 0x0016)
_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_BIG, _DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
_SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""Value representations, by the length of their length: two bytes, or two unused and four."""
HEAD = 512
"""Bytes that are enough to recognize a file."""
_LONGEST_META = 1 << 20
_PIECE = 1 << 20
_NOTHING = bytes(8)
"""An element of tag (0000,0000) that is empty, which no data set begins with."""
MOST_INFLATED = 4 << 30
"""Most bytes of a deflated data set that are unpacked."""


class _Coding(NamedTuple):
    explicit: bool
    order: Literal["little", "big"]

    @property
    def syntax(self) -> str:
        return _IMPLICIT if not self.explicit else _EXPLICIT if self.order == "little" else _BIG


_OF_META = _Coding(explicit=True, order="little")


class _Element(NamedTuple):
    tag: tuple[int, int]
    value: bytes
    """As far as it is there."""
    end: int


@dataclass(frozen=True)
class Layout:
    """Where the parts of a DICOM file are, as far as its first bytes say."""

    start: int
    """Byte at which the meta group begins, or the data set of a file without one."""
    data: int
    """Byte at which the data set begins."""
    syntax: str
    """UID of the transfer syntax: from the meta group, else as the first element is coded; empty if neither says."""
    sop_class: str
    """UID of the SOP class; empty if the first bytes do not contain it."""
    declared: bool
    """Whether the meta group names the transfer syntax."""

    @property
    def is_standard(self) -> bool:
        """Whether pydicom's decoders read such a file as it is."""
        return self.start == _PREAMBLE + len(_MAGIC) and self.declared and self.syntax != _DEFLATED


def layout_of(head: bytes) -> Layout | None:
    """Return the layout of a file with these first bytes; None if it is not DICOM."""
    start = _start(head)
    meta = {tag: (value, end) for tag, value, end in _elements(head, start, _OF_META) if tag[0] == _META}
    data = max((end for _, end in meta.values()), default=start)
    coding = _coding(head, data)
    if not start and not meta and (coding is None or not _is_data_set(head, coding)):
        return None
    own = _first(head, data, coding) if coding is not None else b""
    syntax = _text(meta.get(_SYNTAX, (b"", 0))[0])
    sop_class = _text(meta.get(_STORED_CLASS, (b"", 0))[0]) or _text(own)
    return Layout(start, data, syntax or (coding.syntax if coding else ""), sop_class, declared=bool(syntax))


def _start(head: bytes) -> int:
    at = next((at for at in (_PREAMBLE, 0) if head.startswith(_MAGIC, at)), None)
    return 0 if at is None else at + len(_MAGIC)


def _coding(head: bytes, at: int) -> _Coding | None:
    """How a data set is coded whose first element is at a byte; None: it is not one, or lies beyond."""
    group = head[at : at + 2]
    order = next((o for o in _orders() if int.from_bytes(group, o) in _FIRST_GROUPS), None)
    return None if order is None or len(group) < 2 else _Coding(head[at + 4 : at + 6] in _SHORT | _LONG, order)


def _orders() -> tuple[Literal["little"], Literal["big"]]:
    return "little", "big"


def _is_data_set(head: bytes, coding: _Coding) -> bool:
    """Whether bytes without any mark are two elements at least, in order."""
    tags = [element.tag for element, _ in zip(_elements(head, 0, coding), range(3), strict=False)]
    return len(tags) > 1 and tags == sorted(tags) and tags[-1][0] in range(tags[0][0], 0x30)


def _first(head: bytes, at: int, coding: _Coding) -> bytes:
    return next((value for tag, value, _ in _elements(head, at, coding) if tag == _CLASS), b"")


def _elements(head: bytes, at: int, coding: _Coding) -> Iterator[_Element]:
    """Yield the elements from a byte on whose values end within `head`."""
    while (element := _element(head, at, coding)) is not None and element.end <= len(head):
        yield element
        at = element.end


def _element(head: bytes, at: int, coding: _Coding) -> _Element | None:
    def number(start: int, size: int) -> int:
        return int.from_bytes(head[start : start + size], coding.order)

    kind = head[at + 4 : at + 6]
    if len(head) < at + 8 or (coding.explicit and kind not in _SHORT | _LONG):
        return None
    short = coding.explicit and kind in _SHORT
    value = at + 12 if coding.explicit and not short else at + 8
    length = number(at + 6, 2) if short else number(value - 4, 4)
    return _Element((number(at, 2), number(at + 2, 2)), head[value : value + length], value + length)


def _text(value: bytes) -> str:
    return value.rstrip(b"\0 ").decode("latin-1")


def as_standard(file: IO[bytes]) -> IO[bytes]:
    """Return a DICOM file as one with preamble, meta group and transfer syntax, inflated: itself if it is one."""
    layout = layout_of(file.read(HEAD))
    if layout is not None and not layout.is_standard:
        file.seek(0)
        layout = layout_of(file.read(_LONGEST_META))
    file.seek(0)
    if layout is None or layout.is_standard or not layout.syntax:
        return file
    deflated = layout.syntax == _DEFLATED
    body = _Inflated(file, layout.data) if deflated else file
    head = _meta(_EXPLICIT if deflated else layout.syntax, layout.sop_class)
    return BufferedReader(_Joined(head, body, 0 if deflated else layout.data))


def is_blank(file: IO[bytes]) -> bool:
    """Return whether zeros follow the meta group of a file: to pydicom, as many elements of a command set."""
    layout = layout_of(file.read(HEAD))
    if layout is not None and layout.data + len(_NOTHING) > HEAD:
        file.seek(0)
        layout = layout_of(file.read(_LONGEST_META))
    file.seek(0 if layout is None else layout.data)
    found = file.read(len(_NOTHING))
    file.seek(0)
    return found == _NOTHING


def _meta(syntax: str, sop_class: str) -> bytes:
    """A preamble and a meta group."""
    named = {_STORED_CLASS: sop_class, _SYNTAX: syntax}
    return bytes(_PREAMBLE) + _MAGIC + b"".join(_uid(tag, uid) for tag, uid in named.items() if uid)


def _uid(tag: tuple[int, int], uid: str) -> bytes:
    value = uid.encode("latin-1") + b"\0" * (len(uid) % 2)
    return b"".join(number.to_bytes(2, "little") for number in tag) + b"UI" + len(value).to_bytes(2, "little") + value


class _Readable(RawIOBase):
    """Reads forward, and goes to any byte from the start or from where it is."""

    _at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 2:
            raise OSError("the length is not known")
        self._at = offset + (self._at if whence == 1 else 0)
        return self._at

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._data(self._at, len(target))
        target[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _data(self, at: int, count: int) -> bytes:
        raise NotImplementedError


class _Joined(_Readable):
    """Some bytes, then a file from a byte of it on."""

    name = ""
    """For pydicom, which asks a buffered file for the name of the raw one."""

    def __init__(self, head: bytes, body: IO[bytes] | RawIOBase, start: int) -> None:
        self._head, self._body, self._start = head, body, start

    def _data(self, at: int, count: int) -> bytes:
        if at < len(self._head):
            return self._head[at : at + count]
        self._body.seek(at - len(self._head) + self._start)
        return self._body.read(count) or b""


class _Inflated(_Readable):
    """The contents of a deflated stream from a byte of a file on; going back begins again."""

    def __init__(self, file: IO[bytes], start: int) -> None:
        self._file, self._start = file, start
        self._begin()

    def _begin(self) -> None:
        self._file.seek(self._start)
        self._unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        self._done = 0

    def _data(self, at: int, count: int) -> bytes:
        if at < self._done:
            self._begin()
        while self._done < at:
            if not self._next(min(at - self._done, _PIECE)):
                return b""
        return self._next(count)

    def _next(self, count: int) -> bytes:
        """At most so many bytes that follow; none at the end."""
        data = b""
        if self._done > MOST_INFLATED:
            raise OSError(f"more than {MOST_INFLATED >> 20:,} MiB")
        while not data and not self._unpacker.eof:
            packed = self._unpacker.unconsumed_tail or self._file.read(_PIECE)
            data = self._unpacker.decompress(packed, count)
            if not packed and not data:
                break
        self._done += len(data)
        return data
