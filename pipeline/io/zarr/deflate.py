"""The codec of a work store whose chunks are published as tiles of a GeoTIFF, and the files of these chunks.

No published store has it. A file is a tile as TIFF has it, and behind it its CRC-32C, as Zarr's codec `crc32c` has it.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import google_crc32c
import numpy as np
from numpy.typing import NDArray
from zarr.abc.codec import BytesBytesCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer
from zarr.core.common import JSON
from zarr.registry import register_codec

from pipeline.errors import DamagedError
from pipeline.io.tiles import TILE, Packed, Tail, pack

CHECKSUM = 4
"""Bytes of a CRC-32C at the end of a chunk."""
_ORDER: Final = "little"
NAME = "pipeline.deflate"
"""Name of the codec in the metadata of an array."""


@dataclass(frozen=True)
class DeflateCodec(BytesBytesCodec):
    """zlib streams, as TIFF has them."""

    is_fixed_size = False

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        """Return the codec that the metadata of an array names: it has no options."""
        return cls()

    def to_dict(self) -> dict[str, JSON]:
        """Return the codec as it is named in the metadata of an array."""
        return {"name": NAME, "configuration": {}}

    async def _encode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        tile = chunk_bytes.as_numpy_array().view(chunk_spec.dtype.to_native_dtype())
        packed = await asyncio.to_thread(pack, tile)
        return chunk_spec.prototype.buffer.from_bytes(packed)

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        try:
            unpacked = await asyncio.to_thread(zlib.decompress, chunk_bytes.to_bytes())
        except zlib.error as error:
            raise ValueError(f"the chunk cannot be decompressed ({error})") from error
        return chunk_spec.prototype.buffer.from_bytes(unpacked)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Raise NotImplementedError: the size depends on the values."""
        raise NotImplementedError


register_codec(NAME, DeflateCodec)


def write_tile(file: Path, values: NDArray[Any], nodata: int) -> None:
    """Write the chunk of `values`, filled up with nodata, as `write_chunk` does."""
    tile = np.full((TILE, TILE), nodata, values.dtype)
    tile[: values.shape[0], : values.shape[1]] = values
    write_chunk(file, tile, nodata)


def write_chunk(file: Path, values: NDArray[Any], nodata: int) -> None:
    """Write a chunk; one of nodata alone is not stored.

    The bytes are those that zarr writes, in a third of the time.
    """
    if (values == nodata).all():
        file.unlink(missing_ok=True)
        return
    packed = pack(values)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(packed + _checksum(packed))


def read_tile(file: Path) -> Packed | None:
    """Return the tile in a chunk; None if it is not stored.

    Raises:
        DamagedError: Its checksum is of another one.

    """
    with _reading(file):
        content = file.read_bytes()
        packed, checksum = content[:-CHECKSUM], content[-CHECKSUM:]
        if _checksum(packed) != checksum:
            raise DamagedError(f"{file}: is not as it was written (its checksum is of another chunk)")
        return Packed(packed, int.from_bytes(checksum, _ORDER))
    return None


def read_tail(file: Path) -> Tail | None:
    """Return what identifies the tile in a chunk; None if it is not stored.

    Raises:
        DamagedError: It cannot be read.

    """
    with _reading(file), file.open("rb") as opened:
        size = max(0, opened.seek(0, os.SEEK_END) - CHECKSUM)
        opened.seek(size)
        return Tail(size, int.from_bytes(opened.read(), _ORDER))
    return None


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Pass over a chunk that is not there, and raise DamagedError for one that cannot be read."""
    try:
        yield
    except FileNotFoundError:
        pass
    except OSError as error:
        raise DamagedError(f"{file}: cannot be read ({error.strerror or error})") from error


def _checksum(packed: bytes) -> bytes:
    value: int = google_crc32c.value(packed)
    return value.to_bytes(CHECKSUM, _ORDER)
