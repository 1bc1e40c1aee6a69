"""The layout of a Cloud Optimized GeoTIFF: all directories first, then tiles, those of the smallest overview first.

What the directories say, beside sizes and places, is taken over from a small file that GDAL wrote.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_WIDTH, _LENGTH, _OFFSETS, _BYTE_COUNTS = 256, 257, 324, 325
_LONG, _LONG8 = 4, 16
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value of each type."""
AROUND = 4
"""Bytes before a tile, which say its size, and after it, which repeat its last ones: GDAL reads them as one."""


class Entry(NamedTuple):
    """The values of a tag, as bytes of a type of TIFF."""

    kind: int
    number: int
    data: bytes


Directory = Mapping[int, Entry]


class _Form(NamedTuple):
    """How offsets are written."""

    magic: bytes
    entries: str
    """Format of the number of entries in a directory."""
    offset: str
    """Format of an offset, and of the number of values in an entry."""
    kind: int
    """Type of an entry whose values are offsets."""


_CLASSIC = _Form(b"II*\0", "<H", "<I", _LONG)
_BIG = _Form(b"II+\0\x08\0\0\0", "<Q", "<Q", _LONG8)


@dataclass(frozen=True)
class Template:
    """What GDAL writes into a file: `ghost` is what it says of the layout, between header and directories."""

    ghost: bytes
    directories: tuple[Directory, ...]
    """Of the raster, and of an overview."""


class LevelSizes(NamedTuple):
    """Of a level: rows and columns, and bytes of each tile, row by row."""

    shape: tuple[int, ...]
    tiles: Sequence[int]


def read_template(content: bytes) -> Template:
    """Return what is in a small classic TIFF, little-endian, that GDAL's driver COG wrote."""
    (first,) = at = struct.unpack_from("<I", content, 4)
    directories = []
    for _ in range(2):
        directory, at = _read_directory(content, at[0])
        directories.append(directory)
    return Template(content[8:first], tuple(directories))


def header(template: Template, levels: Sequence[LevelSizes]) -> bytes:
    """Return what comes before the tiles of `levels`, the largest first: BigTIFF where offsets need it."""
    classic = _header(template, levels, _CLASSIC)
    end = len(classic) + sum(sum(level.tiles) + 2 * AROUND * len(level.tiles) for level in levels)
    return classic if end < 1 << 32 else _header(template, levels, _BIG)


def framed(tile: bytes) -> bytes:
    """Return a tile with what is written around it."""
    return struct.pack("<I", len(tile)) + tile + tile[-AROUND:]


def _read_directory(content: bytes, at: int) -> tuple[Directory, tuple[int]]:
    (number,) = struct.unpack_from("<H", content, at)
    entries = {}
    for place in range(at + 2, at + 2 + 12 * number, 12):
        tag, kind, count = struct.unpack_from("<HHI", content, place)
        size = count * _SIZES[kind]
        (start,) = struct.unpack_from("<I", content, place + 8) if size > 4 else (place + 8,)
        entries[tag] = Entry(kind, count, content[start : start + size])
    return entries, struct.unpack_from("<I", content, at + 2 + 12 * number)


def _header(template: Template, levels: Sequence[LevelSizes], form: _Form) -> bytes:
    """Lay out twice: how long the directories are does not depend on where tiles are."""
    placed = [np.zeros(len(level.tiles), np.uint64) for level in levels]
    length = len(_directories(template, levels, placed, form))
    return _directories(template, levels, _places(levels, length), form)


def _places(levels: Sequence[LevelSizes], start: int) -> list[NDArray[np.uint64]]:
    """Where each tile begins; the largest level comes last."""
    placed = []
    for level in reversed(levels):
        sizes = np.asarray(level.tiles, np.uint64) + np.uint64(2 * AROUND)
        ends = np.uint64(start) + np.cumsum(sizes, dtype=np.uint64)
        placed.append(ends - sizes + np.uint64(AROUND))
        start = int(ends[-1])
    return placed[::-1]


def _directories(
    template: Template, levels: Sequence[LevelSizes], placed: Sequence[NDArray[np.uint64]], form: _Form
) -> bytes:
    offset = struct.calcsize(form.offset)
    content = bytearray(form.magic + struct.pack(form.offset, len(form.magic) + offset + len(template.ghost)))
    content += template.ghost
    for number, (level, places) in enumerate(zip(levels, placed, strict=True)):
        directory = _directory(template.directories[min(number, 1)], level, places, form)
        content += _written(directory, len(content), form, last=number == len(levels) - 1)
    return bytes(content)


def _directory(of: Directory, level: LevelSizes, places: NDArray[np.uint64], form: _Form) -> Directory:
    number, offsets = len(level.tiles), places.astype(np.dtype(form.offset))
    own = {
        _WIDTH: Entry(_LONG, 1, struct.pack("<I", level.shape[1])),
        _LENGTH: Entry(_LONG, 1, struct.pack("<I", level.shape[0])),
        _OFFSETS: Entry(form.kind, number, offsets.tobytes()),
        _BYTE_COUNTS: Entry(_LONG, number, np.asarray(level.tiles, "<u4").tobytes()),
    }
    return {**of, **own}


def _written(directory: Directory, start: int, form: _Form, *, last: bool) -> bytes:
    """A directory at `start`, with the values that do not fit into it behind it, each at an even place."""
    offset = struct.calcsize(form.offset)
    entry = 4 + 2 * offset
    behind = start + struct.calcsize(form.entries) + entry * len(directory) + offset
    behind += behind % 2
    fixed, values = bytearray(struct.pack(form.entries, len(directory))), bytearray()
    for tag, (kind, number, data) in sorted(directory.items()):
        inside = len(data) <= offset
        where = data.ljust(offset, b"\0") if inside else struct.pack(form.offset, behind + len(values))
        fixed += struct.pack("<HH", tag, kind) + struct.pack(form.offset, number) + where
        values += b"" if inside else data + b"\0" * (len(data) % 2)
    end = behind + len(values)
    fixed += struct.pack(form.offset, 0 if last else end)
    return bytes(fixed.ljust(behind - start, b"\0") + values)
