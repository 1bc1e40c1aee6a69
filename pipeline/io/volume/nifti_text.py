"""The free text and extensions of a NIfTI header, which may name a person, as JSON values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

import numpy as np

from pipeline.errors import InputError
from pipeline.io.volume.stream import UNREADABLE, ByteStream

FIELDS = ("descrip", "aux_file", "intent_name", "db_name")
_BYTES = "latin-1"
"""As which bytes are text: each is a letter, and comes back as it was."""
_HEAD = 8
"""Bytes of an extension before its content: its whole size, and its code."""
_LONGEST = 1 << 26


def text_of(header: Any, stream: ByteStream, *, paired: bool) -> dict[str, Any]:  # noqa: ANN401  (see volume_header)
    """Return the text fields and extensions of a header; the latter are read from its stream.

    Raises:
        InputError: The extensions are damaged.

    """
    fields = {name: header[name].item().decode(_BYTES) for name in FIELDS if name in header}
    end = float(header["vox_offset"]) if not paired else inf if stream.packed else stream.most
    extensions = [[code, content.decode(_BYTES)] for code, content in _extensions(header, stream, end)]
    return {"text": fields, "extensions": extensions}


def put_text(words: Mapping[str, Any], header: Any) -> bytes:  # noqa: ANN401
    """Set the text fields of a header by `words`, and return the bytes between it and the voxels."""
    for name, text in words.get("text", {}).items():
        if name in header:
            header[name] = text.encode(_BYTES)
    blocks = [_block(code, content.encode(_BYTES)) for code, content in words.get("extensions", ())]
    header["vox_offset"] = header.single_vox_offset + sum(map(len, blocks))
    return bytes([len(blocks) > 0, 0, 0, 0]) + b"".join(blocks)


def _extensions(header: Any, stream: ByteStream, end: float) -> Iterator[tuple[int, bytes]]:  # noqa: ANN401
    at = header.sizeof_hdr
    try:
        follow = at + 4 <= end and _bytes(stream, at, 4)[0]
    except EOFError:
        return
    at += 4
    while follow and at + _HEAD <= end:
        try:
            size, code = np.frombuffer(_bytes(stream, at, _HEAD), f"{header.endianness}i4").tolist()
        except EOFError:
            return
        if not size:
            return
        if not _HEAD <= size <= min(_LONGEST, end - at):
            raise _damaged(f"one of {size} bytes at byte {at}")
        try:
            yield code, _bytes(stream, at + _HEAD, size - _HEAD)
        except EOFError as error:
            raise _damaged(str(error)) from error
        at += size


def _bytes(stream: ByteStream, offset: int, count: int) -> bytes:
    block = np.zeros(count, np.uint8)
    try:
        stream.read_into(offset, block.data)
    except EOFError:
        raise
    except UNREADABLE as error:
        raise _damaged(str(error)) from error
    return block.tobytes()


def _damaged(what: str) -> InputError:
    return InputError(f"its header's extensions are damaged ({what}); leave out --keep-header-text")


def _block(code: int, content: bytes) -> bytes:
    padded = content.ljust(-(-(_HEAD + len(content)) // 16) * 16 - _HEAD, b"\0")
    return np.array([_HEAD + len(padded), code], "<i4").tobytes() + padded
