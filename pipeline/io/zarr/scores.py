"""Scores of one view of a volume, kept until all views have theirs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

from pipeline.errors import OutputError
from pipeline.geometry import Grid
from pipeline.io.zarr.attributes import own_record

CHUNK = (32, 64, 64)
"""Shape of a chunk, of all planes: slabs begin at multiples of its first side, and other views cut it crosswise."""


def create_scores(path: Path, grid: Grid, planes: int) -> None:
    """Create a store at `path` of float32 scores `(planes, *grid.shape)` with checksums, all NaN: nodata.

    Planes are those of the classes, and one of their squares if a layer needs it.
    """
    try:
        root = zarr.create_group(path, zarr_format=3, attributes=own_record(grid, "scores"))
        root.create_array(
            "scores",
            shape=(planes, *grid.shape),
            chunks=(planes, *(min(side, size) for side, size in zip(CHUNK, grid.shape, strict=True))),
            dtype=np.float32,
            compressors=Crc32cCodec(),
            fill_value=np.nan,
            dimension_names=("c", *grid.axes),
        )
    except OSError as error:
        raise OutputError(f"{path}: cannot be created ({error.strerror or error}); is the disk full?") from error
