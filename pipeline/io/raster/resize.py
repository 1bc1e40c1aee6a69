"""Copy a raster with pixels of another size: to see what a model makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.windows import Window

from pipeline.io.raster.gdal import reading

_ROWS = 256
"""Rows that are written at a time."""


def write_resized(source: str, target: Path, factor: float, *, labels: bool = False) -> None:
    """Write a GeoTIFF of what a raster shows, with pixels `factor` times as large; slab by slab.

    Values are averaged where pixels become larger, and interpolated where they become smaller; `labels` are those of
    the nearest pixel. Nodata, names of bands, scales and the place are kept.

    Raises:
        InputError: If the raster cannot be read.

    """
    with reading(source), rasterio.open(source) as dataset:
        height, width = (max(1, round(side / factor)) for side in dataset.shape)
        scale = Affine.scale(dataset.width / width, dataset.height / height)
        placed = dataset.crs is not None or not dataset.transform.is_identity
        place = {"crs": dataset.crs, "transform": dataset.transform @ scale} if placed else {}
        shape = {"count": dataset.count, "dtype": dataset.dtypes[0], "height": height, "width": width}
        with rasterio.open(target, "w", driver="GTiff", tiled=True, nodata=dataset.nodata, **shape, **place) as to:
            to.descriptions, to.scales, to.offsets = dataset.descriptions, dataset.scales, dataset.offsets
            to.colorinterp = dataset.colorinterp
            for window, seen in _windows(dataset, height, width):
                method = Resampling.nearest if labels else Resampling.average if factor > 1 else Resampling.bilinear
                out = (dataset.count, window.height, width)
                to.write(dataset.read(window=seen, out_shape=out, resampling=method), window=window)


def _windows(dataset: DatasetReader, height: int, width: int) -> Iterator[tuple[Window, Window]]:
    """Yield windows of the copy, and what they show of the raster."""
    step = dataset.height / height
    for first in range(0, height, _ROWS):
        rows = min(_ROWS, height - first)
        yield Window(0, first, width, rows), Window(0, first * step, dataset.width, rows * step)
