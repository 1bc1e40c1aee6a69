"""Layers beside a mask in Zarr 3: created empty (all nodata), to be filled slab by slab."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from pipeline.geometry import Grid
from pipeline.io.zarr.attributes import OURS, array_attributes, layer_attributes
from pipeline.io.zarr.labels import add_coordinates, add_header, chunks_of, compressors, creating


def create_layer(
    path: Path,
    grid: Grid,
    dtype: np.dtype[Any],
    *,
    name: str,
    bands: Sequence[str],
    nodata: float,
    scaling: tuple[float, float] | None,
    provenance: Mapping[str, Any],
    header: bytes = b"",
    checksums: bool = True,
) -> None:
    """Create a store of `(bands, *grid.shape)`, or of the grid alone for one band, in which every cell is nodata.

    With `checksums` it is for unfinished work: each chunk ends with one, which `export_store` leaves out.
    `scaling` is the scale and offset that readers apply, `header` what a NIfTI file of a volume would begin with.
    """
    several, lead = len(bands) > 1, "band" if grid.is_scene else "c"
    stated = None if nodata != nodata else int(nodata)  # NaN is recognized by itself, and is not valid JSON
    scaled = {} if scaling is None else {"scale_factor": scaling[0], "add_offset": scaling[1]}
    with creating(path):
        said = layer_attributes(grid, name, stated, provenance, channels=several)
        root = zarr.create_group(path, zarr_format=3, attributes=said)
        add_header(root, header)
        root.create_array(
            name,
            shape=(len(bands), *grid.shape) if several else grid.shape,
            chunks=(1, *chunks_of(grid.shape)) if several else chunks_of(grid.shape),
            dtype=dtype,
            compressors=compressors(checksums=checksums),
            fill_value=nodata,
            dimension_names=(lead, *grid.axes) if several else grid.axes,
            attributes={
                **array_attributes(grid, stated, ()),
                **scaled,
                "long_name": list(bands) if several else bands[0],
            },
        )
        if grid.is_scene:
            add_coordinates(root, grid)


def record_provenance(path: Path, provenance: Mapping[str, Any]) -> None:
    """Record how the layer at `path` was made."""
    root = zarr.open_group(path, mode="r+")
    record: Any = root.attrs[OURS]
    root.attrs[OURS] = {**record, "made": dict(provenance)}
