"""Assemble a Cloud Optimized GeoTIFF of tiles that are compressed already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import SpooledTemporaryFile
from zlib import crc32

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import Resampling

from pipeline.classes import ClassTable
from pipeline.errors import OutputError
from pipeline.files.atomic import atomic_write
from pipeline.geometry import Grid
from pipeline.io.raster.gdal import writing
from pipeline.io.raster.layout import LevelSizes, Template, framed, header, read_template
from pipeline.io.raster.pyramid import Pyramid
from pipeline.io.raster.sidecar import publish_sidecar, sidecar_of
from pipeline.io.raster.verify import check_blocks
from pipeline.io.raster.write import COG, created, describe_labels
from pipeline.io.tiles import Tiles

_HELD = 4 << 20
"""Bytes of packed overviews that are held in memory; beyond that they are in a temporary file."""
_SMALL = (32, 32)
"""Shape of the file whose tags are taken over: no tag depends on the size, but those of the layout."""
_AT_ONCE = 1 << 20


def assemble_cog(
    path: Path, grid: Grid, tiles: Tiles, *, nodata: int, classes: ClassTable, tags: Mapping[str, str]
) -> None:
    """Write `tiles` of labels as they are into a Cloud Optimized GeoTIFF, with overviews by majority.

    The file is what `write_cog` would write, except for its bytes.

    Raises:
        OutputError: The file cannot be written.
        DamagedError: A tile is not as it was written.

    """
    with atomic_write(path) as temporary, writing(path):
        try:
            template = _template(temporary, grid, tiles, nodata, classes, tags)
            with SpooledTemporaryFile(_HELD, dir=str(path.parent)) as kept:
                pyramid = Pyramid(tiles, nodata, kept)
                expected = _write(temporary, template, pyramid)
            _verify(temporary, path, expected, len(pyramid.levels) - 1)
            publish_sidecar(temporary, path, classes)
        finally:
            sidecar_of(temporary).unlink(missing_ok=True)


def _template(
    temporary: Path, grid: Grid, tiles: Tiles, nodata: int, classes: ClassTable, tags: Mapping[str, str]
) -> Template:
    """Have GDAL write a small file of the same kind to `temporary`, and its sidecar, where it needs one."""
    stage = temporary.with_suffix(".stage.tif")
    try:
        with created(stage, replace(grid, shape=_SMALL), 1, tiles.dtype, {"nodata": nodata}) as dataset:
            describe_labels(dataset, nodata, classes, tags)
            dataset.write(np.zeros((1, *_SMALL), tiles.dtype))
        check_blocks(stage, temporary, 0)
        with rasterio.open(stage, "r+") as dataset:
            dataset.build_overviews([2], Resampling.nearest)
        check_blocks(stage, temporary, 1)
        rasterio.shutil.copy(stage, temporary, driver="COG", overviews="force_use_existing", **COG)
        check_blocks(temporary, temporary, 1)
        return read_template(temporary.read_bytes())
    finally:
        for leftover in (stage, sidecar_of(stage)):
            leftover.unlink(missing_ok=True)


def _write(temporary: Path, template: Template, pyramid: Pyramid) -> int:
    """Write the file, and return the CRC-32 of its bytes."""
    begin = header(template, [LevelSizes(level.shape, level.sizes) for level in pyramid.levels])
    checksum = crc32(begin)
    with temporary.open("wb") as file:
        file.write(begin)
        for level in reversed(range(len(pyramid.levels))):
            for tile in pyramid.packed(level):
                content = framed(tile)
                checksum = crc32(content, checksum)
                file.write(content)
    return checksum


def _verify(temporary: Path, path: Path, expected: int, overviews: int) -> None:
    """Raise OutputError unless the file has the bytes that were written, and GDAL finds every tile in it."""
    found = 0
    with temporary.open("rb") as file:
        while content := file.read(_AT_ONCE):
            found = crc32(content, found)
    if found != expected:
        raise OutputError(f"{path}: its bytes differ from those that were written; is the disk full, or failing?")
    check_blocks(temporary, path, overviews)
