"""A Zarr array as an input: our own masks, CF and GeoZarr scenes, OME-Zarr volumes."""

from __future__ import annotations

import zlib
from lzma import LZMAError
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.classes import ClassTable, class_table_of
from pipeline.engine import Pixels, Source, SourceInfo
from pipeline.errors import InputError
from pipeline.geometry import Box, Grid
from pipeline.io.address import redact_url
from pipeline.io.suffixes import STORES
from pipeline.io.zarr.attributes import grid_from_json
from pipeline.io.zarr.discover import ZarrArray, find, split_axes
from pipeline.io.zarr.georeference import grid_of
from pipeline.io.zarr.location import telling
from pipeline.sources.validity import valid_mask

_LARGE_CHUNK, _LARGEST_CHUNK = 32 << 20, 1 << 30
_AT_ONCE = 10
"""Chunks that zarr reads at the same time."""
_BROKEN = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, EOFError),
    *(zlib.error, LZMAError),
)
"""What zarr and its decoders raise on metadata and chunks that are not as they should be."""


_METADATA = ("zarr.json", ".zgroup", ".zarray")


def _fault(path: Path, error: Exception) -> str:
    """Describe why a store cannot be read."""
    if path.is_dir() and path.suffix not in STORES and not any((path / name).exists() for name in _METADATA):
        return "is a folder, but neither a Zarr store nor the files of one DICOM series; give a file or folder in it"
    return f"not a Zarr store that can be read ({error}); write it again"


class ZarrSource(Source):
    """An array of a Zarr store, version 2 or 3, as an input; nothing is held open, and any thread may read.

    Axes are known from our own record, OME-Zarr, dimension names, or being two. Axes before the spatial ones are the
    channels, or of size 1.
    """

    def __init__(self, path: str | Path, affine: str = "strict") -> None:
        """Open `path`: an array, or a group that holds one or says which is meant.

        `affine` is what holds where a NIfTI header in it has two that disagree: sform, qform, or "strict" for neither.

        Raises:
            InputError: It is not a scene or volume in Zarr that can be read.

        """
        self._address, self._path = str(path), redact_url(path)
        try:
            with telling(self._address):
                self._open(affine)
        except InputError:
            raise
        except _BROKEN as error:
            raise InputError(f"{self._path}: {_fault(Path(path), error)}") from error

    def _open(self, affine: str) -> None:
        found = find(self._address)
        record = found.record
        self._array = found.array
        self._lead, spatial = split_axes(self._path, self._array.shape, found.axes)
        shape = self._array.shape[-spatial:]
        channels = [size for size, index in zip(self._array.shape, self._lead, strict=False) if index == slice(None)]
        self.info = SourceInfo(
            grid=grid_from_json(record["grid"]) if record else self._foreign_grid(found, shape, affine),
            channels=channels[0] if channels else 1,
            dtype=np.dtype(self._array.dtype).newbyteorder("="),
            block=tuple(self._array.chunks[-spatial:]),
            nodata=record["nodata"] if record else found.nodata,
            path=self._path,
            held=self._held(),
        )
        self.classes: ClassTable = class_table_of(record["classes"]) if record else ()
        self.provenance: dict[str, Any] = record["made"] if record else {}
        self._check(shape)

    def _foreign_grid(self, found: ZarrArray, shape: tuple[int, ...], affine: str) -> Grid:
        try:
            return grid_of(found, shape, affine)
        except InputError as error:
            raise InputError(f"{self._path}: its array nifti {error}", error.code) from None

    def _check(self, shape: tuple[int, ...]) -> None:
        if self.dtype.kind not in "buif":
            raise InputError(f"{self._path}: cells are {self.dtype}; only integers and real numbers can be segmented")
        if self.grid.shape != shape:
            raise InputError(
                f"{self._path}: its record declares a grid of {self.grid.shape}, but its array has {shape}"
            )
        size = prod(self._array.chunks) * self.dtype.itemsize
        if size > _LARGEST_CHUNK:
            raise InputError(
                f"{self._path}: is stored in chunks of {self._array.chunks}, {size / 2**30:.1f} GiB each, and can only "
                "be read by whole chunks; write it again in smaller ones"
            )

    def _held(self) -> int:
        """Bytes of the chunks that are decoded at the same time, where they are large."""
        size = prod(self._array.chunks) * self._array.dtype.itemsize
        return size * min(_AT_ONCE, -(-self._array.shape[-1] // self._array.chunks[-1])) if size > _LARGE_CHUNK else 0

    def read(self, box: Box) -> Pixels:
        """Return the pixels of `box`, `(channels, *box.shape)`.

        Raises:
            InputError: A chunk is damaged.

        """
        try:
            with telling(self._address):
                values = np.asarray(self._array[self._lead + box.slices], self.dtype)
        except InputError:
            raise
        except _BROKEN as error:
            raise InputError(f"{self._path}, rows {box.start[0]} to {box.stop[0]}: cannot be read ({error})") from error
        values = values.reshape(self.channels, *box.shape)
        return Pixels(values, valid_mask(values, [self.info.nodata] * self.channels))

    def close(self) -> None:
        """Nothing is held open."""
