"""Verify that a GeoTIFF was written completely: GDAL is silent where the disk fills up while it closes one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window

from pipeline.errors import OutputError


def checksums(planes: NDArray[Any], before: Sequence[int]) -> list[int]:
    """Return the CRC-32 of each channel of `planes` `(channels, rows, columns)`, continuing those `before`."""
    return [crc32(np.ascontiguousarray(plane).data, crc) for plane, crc in zip(planes, before, strict=True)]


def check_blocks(draft: Path, path: Path, overviews: int) -> None:
    """Raise OutputError for `path` unless the GeoTIFF `draft` has all `overviews`, and all blocks of each level."""
    size = draft.stat().st_size
    with rasterio.open(draft) as dataset:
        found = len(dataset.overviews(1))
    if found != overviews:
        raise OutputError(f"{path}: only {found} of {overviews} overviews could be written; is the disk full?")
    for level, dataset in _levels(draft):
        missing = next((block for block in _blocks(dataset) if not 0 < _end(dataset, *block) <= size), None)
        if missing is not None:
            raise OutputError(f"{path}: block {missing} of level {level} could not be written; is the disk full?")


def verify_written(draft: Path, path: Path, overviews: int, expected: Sequence[int]) -> None:
    """Raise OutputError for `path` unless `draft` has all its blocks, and cells with the `expected` checksums.

    Overviews are read too: a block that was written by half cannot be decoded.
    """
    check_blocks(draft, path, overviews)
    for level, dataset in _levels(draft):
        found = [0] * dataset.count
        height = dataset.block_shapes[0][0]
        for top in range(0, dataset.height, height):
            window = Window(0, top, dataset.width, min(height, dataset.height - top))
            found = checksums(dataset.read(window=window), found)
        if level == 0 and found != list(expected):
            raise OutputError(f"{path}: its cells differ from those that were written; is the disk full, or failing?")


def _levels(path: Path) -> Iterator[tuple[int, DatasetReader]]:
    """The image itself as level 0, then its overviews."""
    with rasterio.open(path) as dataset:
        yield 0, dataset
        overviews = len(dataset.overviews(1))
    for level in range(overviews):
        with rasterio.open(path, overview_level=level) as dataset:
            yield level + 1, dataset


def _blocks(dataset: DatasetReader) -> Iterator[tuple[int, int, int]]:
    """Band, row and column of each block."""
    height, width = dataset.block_shapes[0]
    return product(dataset.indexes, range(-(-dataset.height // height)), range(-(-dataset.width // width)))


def _end(dataset: DatasetReader, band: int, row: int, column: int) -> int:
    """Where in the file a block ends; 0 where it is not there."""
    offset = dataset.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=band)
    size = dataset.get_tag_item(f"BLOCK_SIZE_{column}_{row}", "TIFF", bidx=band)
    return int(offset) + int(size) if offset and size else 0
