"""GeoTIFFs out: labels as Cloud Optimized GeoTIFF, scenes as plain tiles, pictures as PNG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetWriter
from rasterio.rpc import RPC
from rasterio.windows import Window

from pipeline.classes import ClassTable
from pipeline.errors import OutputError
from pipeline.geometry import Grid
from pipeline.io.raster.georeference import CACHE_MEGABYTES, georeference
from pipeline.io.safely import replacing


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
    """Write labels as a Cloud Optimized GeoTIFF with a colour table, class names and overviews by majority.

    `slabs` are full-width rows from the top. The file appears under its name only when it is whole. Class names are
    band tags, and GDAL's category names in `<path>.aux.xml`.
    """
    with replacing(path) as temporary, _output_errors(path):
        stage = temporary.with_suffix(".stage.tif")
        try:
            _write_stage(stage, grid, slabs, dtype, nodata=nodata, classes=classes, tags=tags)
            with rasterio.Env(GDAL_CACHEMAX=CACHE_MEGABYTES, GDAL_TIFF_INTERNAL_MASK=True):
                options = {"compress": "deflate", "blocksize": 512, "bigtiff": "if_safer", "num_threads": "all_cpus"}
                rasterio.shutil.copy(stage, temporary, driver="COG", overviews="force_use_existing", **options)
        finally:
            stage.unlink(missing_ok=True)
    if classes:
        with replacing(path.with_name(path.name + ".aux.xml")) as temporary:
            temporary.write_text(_categories(classes))


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture `(3, rows, columns)`."""
    profile = {"driver": "PNG", "count": 3, "height": picture.shape[1], "width": picture.shape[2], "dtype": "uint8"}
    with _output_errors(path), rasterio.open(path, "w", **profile) as dataset:
        dataset.write(picture)


def write_scene(path: Path, grid: Grid, slabs: Iterator[NDArray[Any]], channels: int, dtype: np.dtype[Any]) -> None:
    """Write an image `(channels, rows, columns)` from full-width slabs as a tiled GeoTIFF, without overviews."""
    options = {"compress": "deflate", "zlevel": 1}
    with (
        replacing(path) as temporary,
        _output_errors(path),
        _created(temporary, grid, channels, dtype, options) as dataset,
    ):
        _fill(dataset, slabs)


def _write_stage(
    path: Path,
    grid: Grid,
    slabs: Iterator[NDArray[Any]],
    dtype: np.dtype[Any],
    *,
    nodata: int,
    classes: ClassTable,
    tags: Mapping[str, str],
) -> None:
    with _created(path, grid, 1, dtype, {"compress": "zstd", "zstd_level": 1, "nodata": nodata}) as dataset:
        if dtype == np.uint8 and classes:
            dataset.write_colormap(1, {c.value: (*c.colour, 255) for c in classes} | {nodata: (0, 0, 0, 0)})
        dataset.update_tags(**tags)
        dataset.update_tags(1, **{f"CLASS_{c.value}": c.name for c in classes})
        dataset.set_band_description(1, "class")
        _fill(dataset, (rows[None] for rows in slabs))
    factors = [2**level for level in range(1, 32) if max(grid.shape) > 256 * 2**level]
    if factors:
        with (
            rasterio.Env(GDAL_CACHEMAX=CACHE_MEGABYTES, GDAL_NUM_THREADS="ALL_CPUS"),
            rasterio.open(path, "r+") as dataset,
        ):
            dataset.build_overviews(factors, Resampling.mode)


@contextmanager
def _created(
    path: Path, grid: Grid, channels: int, dtype: np.dtype[Any], options: Mapping[str, Any]
) -> Iterator[DatasetWriter]:
    """A new tiled GeoTIFF with the exact georeference of `grid`."""
    shape = {"height": grid.shape[0], "width": grid.shape[1], "count": channels, "dtype": dtype}
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "bigtiff": "if_safer", "num_threads": "all_cpus"}
    where = georeference(grid)
    rpcs, point = where.pop("rpcs", None), where.pop("area_or_point", None)
    with (
        rasterio.Env(GDAL_CACHEMAX=CACHE_MEGABYTES),
        rasterio.open(path, "w", driver="GTiff", **shape, **tiles, **options, **where) as dataset,
    ):
        if rpcs:
            dataset.rpcs = RPC.from_gdal(rpcs)
        if point == "Point":
            dataset.update_tags(AREA_OR_POINT=point)
        yield dataset


def _fill(dataset: DatasetWriter, slabs: Iterator[NDArray[Any]]) -> None:
    top = 0
    for slab in slabs:
        dataset.write(slab, window=Window(0, top, slab.shape[2], slab.shape[1]))
        top += slab.shape[1]
    if top != dataset.height:
        raise OutputError(f"{dataset.name}: {top} rows were given for a grid of {dataset.height}")


def _categories(classes: ClassTable) -> str:
    """GDAL's sidecar with the class names, by position."""
    names = {c.value: c.name for c in classes}
    rows = "".join(f"<Category>{escape(names.get(value, ''))}</Category>" for value in range(max(names) + 1))
    return f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{rows}</CategoryNames></PAMRasterBand></PAMDataset>\n'


@contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except RasterioError as error:
        raise OutputError(f"{path}: GDAL cannot write it ({error}); is there room, and may you write there?") from error
