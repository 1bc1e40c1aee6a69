"""The metadata of each band of a file, as GDAL reports it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from pipeline.io.band_names import RasterBand

_TAGS = frozenset(["commonname", "bandname", "name"])
"""Tags of a band that name it, in lower case and without hyphens: `common_name` of STAC, `BANDNAME` of SAFE."""
_NO_COLOR = frozenset([ColorInterp.undefined, ColorInterp.gray, ColorInterp.palette, ColorInterp.alpha])


def bands_of(dataset: DatasetReader) -> tuple[RasterBand, ...]:
    """Return the bands of a dataset, in order."""
    tags = map(dataset.tags, dataset.indexes)
    rows = zip(dataset.descriptions, tags, dataset.colorinterp, dataset.scales, dataset.offsets, strict=True)
    return tuple(
        RasterBand(_names(*named), _color(kind), float(scale), float(offset)) for *named, kind, scale, offset in rows
    )


def _names(description: str | None, tags: Mapping[str, str]) -> tuple[str, ...]:
    named = [text for key, text in tags.items() if re.sub(r"[\s_-]", "", key.lower()) in _TAGS]
    return tuple(name.strip() for name in (description, *named) if name and name.strip())


def _color(kind: ColorInterp) -> str | None:
    return None if kind in _NO_COLOR else str(kind.name)
