"""Copy a volume once into Zarr, where every view of it is cheap to read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import zarr
from numpy.typing import NDArray

from pipeline.engine import Source
from pipeline.errors import OutputError
from pipeline.io.zarr.attributes import own_record
from pipeline.io.zarr.source import ZarrSource
from pipeline.sources.passes import slabs

_SIDE = 64


def stage_volume(source: Source, path: Path, look: Callable[[NDArray[Any]], None]) -> ZarrSource:
    """Copy `source` to a store at `path` in one forward pass, and open it.

    `look` is given the values of each slice as it goes by, `(channels, 1, rows, columns)`. Raises OutputError.
    """
    try:
        array = _create(source, path)
        lead = (slice(None),) * (array.ndim - 3)
        for box, (values, _) in slabs(source, _SIDE):
            for index in range(values.shape[1]):
                look(values[:, index : index + 1])
            array[(*lead, *box.slices)] = values if lead else values[0]
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); is the disk full?") from error
    return ZarrSource(path)


def _create(source: Source, path: Path) -> zarr.Array[Any]:
    missing = source.info.nodata
    record = own_record(source.grid, "0", None if missing != missing else missing)  # NaN is recognized by itself
    root = zarr.create_group(path, zarr_format=3, attributes=record, overwrite=True)
    several = source.channels > 1
    return root.create_array(
        "0",
        shape=(*((source.channels,) if several else ()), *source.grid.shape),
        chunks=(*((1,) if several else ()), *(min(_SIDE, size) for size in source.grid.shape)),
        dtype=source.dtype,
        compressors=None,
        dimension_names=(*(("c",) if several else ()), *source.grid.axes),
    )
