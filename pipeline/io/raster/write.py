"""Write labels and layers as Cloud Optimized GeoTIFF, scenes as tiled GeoTIFF, and pictures as PNG."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import DatasetWriter
from rasterio.rpc import RPC
from rasterio.windows import Window

from pipeline.classes import ClassTable
from pipeline.errors import OutputError
from pipeline.files.atomic import atomic_write
from pipeline.geometry import Grid
from pipeline.io.raster.gdal import writing
from pipeline.io.raster.georeference import georeference
from pipeline.io.raster.sidecar import publish_sidecar, sidecar_of
from pipeline.io.raster.verify import check_blocks, checksums, verify_written
from pipeline.io.tiles import TILE

_TILES = {"tiled": True, "blockxsize": TILE, "blockysize": TILE, "bigtiff": "if_safer", "num_threads": "all_cpus"}
COG = {"compress": "deflate", "blocksize": TILE, "bigtiff": "if_safer", "num_threads": "all_cpus"}
"""Options of the driver COG."""


def write_cog(
    path: Path,
    grid: Grid,
    slabs: Iterator[NDArray[Any]],
    dtype: np.dtype[Any],
    *,
    nodata: int,
    classes: ClassTable,
    tags: Mapping[str, str],
) -> None:
    """Write labels as a Cloud Optimized GeoTIFF with a color table, class names and overviews by majority.

    `slabs` are full-width rows from the top. The file appears under its name only when it is whole. Class names are
    band tags, and GDAL's category names in `<path>.aux.xml`, which appears first.

    Raises:
        OutputError: The file cannot be written, or `slabs` do not fill the grid.

    """
    profile = _Profile(1, np.dtype(dtype), nodata, Resampling.mode, classes)
    _write(
        path,
        grid,
        (rows[None] for rows in slabs),
        profile,
        lambda dataset: describe_labels(dataset, nodata, classes, tags),
    )


def write_layer(
    path: Path,
    grid: Grid,
    slabs: Iterator[NDArray[Any]],
    dtype: np.dtype[Any],
    *,
    bands: Sequence[str],
    nodata: float,
    scaling: tuple[float, float] | None,
    tags: Mapping[str, str],
) -> None:
    """Write `(bands, rows, columns)` as a Cloud Optimized GeoTIFF with named bands and overviews by mean.

    `scaling` is the scale and offset that readers apply. Otherwise as `write_cog`.
    """

    def describe(dataset: DatasetWriter) -> None:
        dataset.update_tags(**tags)
        dataset.descriptions = tuple(bands)
        if scaling is not None:
            dataset.scales, dataset.offsets = ((value,) * len(bands) for value in scaling)

    _write(path, grid, slabs, _Profile(len(bands), dtype, nodata, Resampling.average), describe)


class _Profile(NamedTuple):
    """What the bands of a GeoTIFF are like."""

    channels: int
    dtype: np.dtype[Any]
    nodata: float
    overviews: Resampling
    classes: ClassTable = ()


def _write(
    path: Path, grid: Grid, slabs: Iterator[NDArray[Any]], profile: _Profile, describe: Callable[[DatasetWriter], None]
) -> None:
    """Write a Cloud Optimized GeoTIFF by way of a plain one, and see that it is whole."""
    options = {"compress": "zstd", "zstd_level": 1, "nodata": profile.nodata}
    predictor = {"predictor": "yes"} if profile.dtype.kind == "f" else {}
    with atomic_write(path) as temporary, writing(path):
        stage = temporary.with_suffix(".stage.tif")
        try:
            with created(stage, grid, profile.channels, profile.dtype, options) as dataset:
                describe(dataset)
                expected = _fill(dataset, path, slabs)
            check_blocks(stage, path, 0)
            overviews = _add_overviews(stage, profile.overviews)
            check_blocks(stage, path, overviews)
            rasterio.shutil.copy(stage, temporary, driver="COG", overviews="force_use_existing", **COG, **predictor)
            verify_written(temporary, path, overviews, expected)
            publish_sidecar(temporary, path, profile.classes)
        finally:
            for leftover in (stage, sidecar_of(stage), sidecar_of(temporary)):
                leftover.unlink(missing_ok=True)


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture `(3, rows, columns)`. Raises OutputError."""
    profile = {"driver": "PNG", "count": 3, "height": picture.shape[1], "width": picture.shape[2], "dtype": "uint8"}
    with (
        atomic_write(path) as temporary,
        writing(path),
        rasterio.open(temporary, "w", **profile) as dataset,
    ):
        dataset.write(picture)


def write_scene(path: Path, grid: Grid, slabs: Iterator[NDArray[Any]], channels: int, dtype: np.dtype[Any]) -> None:
    """Write an image `(channels, rows, columns)` from full-width slabs as a tiled GeoTIFF. Raises OutputError."""
    with atomic_write(path) as temporary, writing(path):
        with created(temporary, grid, channels, dtype, {"compress": "deflate", "zlevel": 1}) as dataset:
            expected = _fill(dataset, path, slabs)
        verify_written(temporary, path, 0, expected)


def describe_labels(dataset: DatasetWriter, nodata: int, classes: ClassTable, tags: Mapping[str, str]) -> None:
    """Give a new dataset of labels its color table, tags and description."""
    if dataset.dtypes[0] == "uint8" and classes:
        dataset.write_colormap(1, {c.value: (*c.color, 255) for c in classes} | {nodata: (0, 0, 0, 0)})
    dataset.update_tags(**tags)
    dataset.update_tags(1, **{f"CLASS_{c.value}": c.name for c in classes})
    dataset.set_band_description(1, "class")


def _add_overviews(path: Path, how: Resampling) -> int:
    """Add overviews, down to where the longer side fits a block, and count them."""
    with rasterio.open(path, "r+") as dataset:
        factors = [2**level for level in range(1, 32) if max(dataset.shape) > TILE // 2 * 2**level]
        if factors:
            dataset.build_overviews(factors, how)
    return len(factors)


@contextmanager
def created(
    path: Path, grid: Grid, channels: int, dtype: np.dtype[Any], options: Mapping[str, Any]
) -> Iterator[DatasetWriter]:
    """A new tiled GeoTIFF with the exact georeference of `grid`."""
    shape = {"height": grid.shape[0], "width": grid.shape[1], "count": channels, "dtype": dtype}
    where = georeference(grid)
    rpcs, point = where.pop("rpcs"), where.pop("area_or_point")
    with rasterio.open(path, "w", driver="GTiff", **shape, **_TILES, **options, **where) as dataset:
        if rpcs:
            dataset.rpcs = RPC.from_gdal(rpcs)
        if point == "Point":
            dataset.update_tags(AREA_OR_POINT=point)
        yield dataset


def _fill(dataset: DatasetWriter, path: Path, slabs: Iterator[NDArray[Any]]) -> list[int]:
    """Write slabs `(channels, rows, columns)` from the top; returns the checksum of each channel."""
    top, sums = 0, [0] * dataset.count
    for slab in slabs:
        bottom = top + slab.shape[1]
        if slab.shape[2] != dataset.width or bottom > dataset.height:
            raise OutputError(f"{path}: a slab of shape {slab.shape} ends at row {bottom} of a grid of {dataset.shape}")
        if not np.can_cast(slab.dtype, dataset.dtypes[0], "safe"):
            raise OutputError(f"{path}: values of type {slab.dtype} do not fit {dataset.dtypes[0]}; write a wider type")
        values = slab.astype(dataset.dtypes[0], copy=False)
        dataset.write(values, window=Window(0, top, slab.shape[2], slab.shape[1]))
        top, sums = bottom, checksums(values, sums)
    if top != dataset.height:
        raise OutputError(f"{path}: the slabs end after {top} of {dataset.height} rows; run this item again")
    return sums
