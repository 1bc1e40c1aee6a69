"""The metadata of each band of a file, as GDAL reports it."""

from __future__ import annotations

import re

from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader

from pipeline.io.band_names import RasterBand

_TAGS = frozenset(["commonname", "bandname", "name"])
"""Tags of a band that name it, in lower case and without hyphens: `common_name` of STAC, `BANDNAME` of SAFE."""
_NO_COLOR = frozenset([ColorInterp.undefined, ColorInterp.gray, ColorInterp.palette, ColorInterp.alpha])


def bands_of(dataset: DatasetReader) -> tuple[RasterBand, ...]:
    """Return the bands of a dataset, in order."""
    return tuple(_band(dataset, number) for number in dataset.indexes)


def _band(dataset: DatasetReader, number: int) -> RasterBand:
    at = number - 1
    tags = [text for key, text in dataset.tags(number).items() if re.sub(r"[\s_-]", "", key.lower()) in _TAGS]
    kind = dataset.colorinterp[at]
    return RasterBand(
        tuple(name.strip() for name in (dataset.descriptions[at], *tags) if name and name.strip()),
        None if kind in _NO_COLOR else kind.name,
        float(dataset.scales[at]),
        float(dataset.offsets[at]),
    )
