"""Describe an input or a mask in plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.classes import rows_of
from pipeline.engine import Source
from pipeline.errors import InputError
from pipeline.geometry import Grid
from pipeline.geometry.orientation import orientation_of
from pipeline.io.band_names import HasBands, RasterBand, listed
from pipeline.io.formats import Input, look
from pipeline.io.mask_files import mask_info
from pipeline.io.opening import open_source


def describe(path: str) -> dict[str, Any]:
    """Return grid, channels, classes and provenance of the file at `path` as JSON values; reads headers only."""
    item = look(path)
    source, problem = _open(item)
    try:
        known = mask_info(path) if not item.remote and item.path.exists() else None
        mask = {} if known is None or not known.classes else {"classes": rows_of(known.classes)}
        provenance = {} if known is None or known.provenance is None else {"made": dict(known.provenance)}
        volumes = source.info.volumes
        several = {"volumes": volumes} if volumes > 1 else {}
        return {"input": item.name, **_grid(source.grid), **several, **_values(source), **problem, **mask, **provenance}
    finally:
        source.close()


def _open(item: Input) -> tuple[Source, dict[str, str]]:
    """Open the input, or the first volume of a 4-D file; also return what a run would refuse about its affine."""
    first = item.first_volume
    try:
        return open_source(item, volume=first), {}
    except InputError as error:
        if first is None:
            raise
        return open_source(item, affine="sform", volume=first), {"problem": str(error)}


def _grid(grid: Grid) -> dict[str, Any]:
    kind = "scene" if grid.is_scene else "volume"
    place: dict[str, Any] = _place(grid) if grid.is_scene else {"orientation": orientation_of(grid)}
    return {
        "kind": kind,
        "shape": list(grid.shape),
        "axes": list(grid.axes),
        "spacing": [round(length, 9) for length in grid.spacing],
        **place,
        "affine": [list(row) for row in grid.affine],
    }


def _place(grid: Grid) -> dict[str, Any]:
    """Return the CRS of a scene, and the size of its pixels in meters on the ground if that is known."""
    from pipeline.io.raster.placement import ground_spacing  # rasterio, which volumes do not need

    ground = ground_spacing(grid)
    known = {} if ground is None else {"meters": [round(length, 6) for length in ground]}
    return {**known, "crs": grid.crs}


def _values(source: Source) -> dict[str, Any]:
    values = {"channels": source.channels, "dtype": source.dtype.name, "block": list(source.block)}
    return {**values, **(_bands(source.band_info) if isinstance(source, HasBands) else {})}


def _bands(mask_info: Sequence[RasterBand]) -> dict[str, Any]:
    """Return names of bands with their numbers if several have one, and scales and offsets if any has one."""
    names = {"bands": listed(mask_info)} if len(mask_info) > 1 and any(band.name for band in mask_info) else {}
    if all((band.scale, band.offset) == (1.0, 0.0) for band in mask_info):
        return names
    return {**names, "scale": [band.scale for band in mask_info], "offset": [band.offset for band in mask_info]}
