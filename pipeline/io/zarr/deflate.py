"""The codec of a work store whose chunks are published as tiles of a GeoTIFF; no published store has it."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass
from typing import Self

from zarr.abc.codec import BytesBytesCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer
from zarr.core.common import JSON
from zarr.registry import register_codec

from pipeline.io.tiles import pack

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
        packed = await asyncio.to_thread(pack, chunk_bytes.as_numpy_array())
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
