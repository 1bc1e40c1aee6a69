"""The record of rasters: all that GDAL opens, and GeoTIFF for masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.engine import Source
from pipeline.io.formats.format import Format, Input, MaskFormat, OpenOptions
from pipeline.io.mask import Mask, MaskInfo, MaskLayer
from pipeline.sources.passes import slabs

_RECORD = "PIPELINE"
"""Tag of a GeoTIFF that says how it was made."""


def _is_left_over(text: str) -> bool:
    """GDAL is given what no other format is recognized in."""
    return False


def _open(item: Input, options: OpenOptions) -> Source:
    from pipeline.io.raster import RasterSource

    return RasterSource(item.text, options.bands, allow=options.allow)


def _also_read(item: Input) -> tuple[Path, ...]:
    from pipeline.io.raster import files_of

    return files_of(item.text)


def _write(mask: Mask, path: Path) -> None:
    from pipeline.io.raster import assemble_cog, write_cog
    from pipeline.io.zarr import tiles_of

    tags = {_RECORD: json.dumps(mask.provenance)}
    tiles = tiles_of(mask.labels)
    if tiles is not None:
        assemble_cog(path, mask.grid, tiles, nodata=mask.nodata, classes=mask.classes, tags=tags)
        return
    write_cog(path, mask.grid, mask.slabs(), mask.labels.dtype, nodata=mask.nodata, classes=mask.classes, tags=tags)


def _write_layer(layer: MaskLayer, path: Path) -> None:
    from pipeline.io.raster import write_layer

    values, kind = (pixels.values for _, pixels in slabs(layer.values)), layer.values.dtype
    tags = {_RECORD: json.dumps(layer.provenance)}
    said: dict[str, Any] = {"bands": layer.bands, "nodata": layer.nodata, "scaling": layer.scaling, "tags": tags}
    write_layer(path, layer.grid, values, kind, **said)


def _info(path: Path) -> MaskInfo:
    from pipeline.io.raster import RasterSource

    source = RasterSource(path)
    source.close()
    provenance = json.loads(source.tags[_RECORD]) if _RECORD in source.tags else None
    nodata = source.info.nodata
    known = nodata is not None and float(nodata).is_integer()
    return MaskInfo(int(nodata or 0) if known else None, source.classes, provenance)


RASTER = Format(
    "raster",
    matches=_is_left_over,
    open=_open,
    kind="scene",
    suffixes=(".tif", ".tiff"),
    read_only=(".gtif", ".gtiff", ".btf"),
    takes=("bands",),
    also_read=_also_read,
    mask=MaskFormat(_write, _info, _write_layer, tiled=True),
)
