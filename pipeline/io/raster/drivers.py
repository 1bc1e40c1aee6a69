"""Which of GDAL's drivers may open a file, by its suffix: GDAL itself goes by what is in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import rasterio
from rasterio._path import _parse_path
from rasterio.env import ensure_env_with_credentials
from rasterio.io import DatasetReader

from pipeline.io.address import name_of

SERVICES = "HTTP WMS WCS WMTS OGCAPI DAAS EEDA EEDAI PLMOSAIC NGW STACIT STACTA GTI"
"""Drivers for descriptions of services and of catalogs, which make requests of their own: never used."""
_PICTURES = (
    *("GTiff", "SNAP_TIFF", "COG", "JP2OpenJPEG", "JP2KAK", "JP2ECW", "JP2MrSID", "JP2Lura", "JPEG", "JPEGXL", "PNG"),
    *("WEBP", "GIF", "BIGGIF", "BMP", "HFA", "NITF"),
)
"""Drivers of files that are the whole raster themselves."""
_BY_SUFFIX = {
    **dict.fromkeys((".tif", ".tiff", ".gtiff", ".gtif", ".jp2", ".j2k", ".png", ".jpg", ".jpeg"), _PICTURES),
    ".vrt": ("VRT",),
    ".mrf": ("MRF",),
}
_OBJECT = re.compile(r"^(s3|gs|az)://")
_BY_SUFFIX_ALONE = frozenset({"VRT", "MRF", *SERVICES.split()})
"""Drivers of descriptions, which are not looked for under another suffix."""


def gdal_name(address: str) -> str:
    """Return the name by which GDAL opens an address: of an object, exactly as its store has it.

    >>> gdal_name("s3://bucket/a #1?.tif"), gdal_name("https://host/a.tif")
    ('/vsis3/bucket/a #1?.tif', 'https://host/a.tif')
    """
    return _OBJECT.sub(r"/vsi\1/", address)


@ensure_env_with_credentials  # type: ignore[untyped-decorator]
def open_dataset(address: str, **options: Any) -> DatasetReader:  # noqa: ANN401  (rasterio's)
    """Open a raster with the drivers that its suffix allows; otherwise as `rasterio.open`."""
    return DatasetReader(_parse_path(gdal_name(address)), driver=list(_drivers(address)), sharing=False, **options)


def _drivers(address: str) -> tuple[str, ...]:
    if address.startswith("vrt://"):
        return ("VRT",)
    return _BY_SUFFIX.get(Path(name_of(address)).suffix.lower()) or _others()


def _others() -> tuple[str, ...]:
    with rasterio.Env() as environment:
        return tuple(name for name in environment.drivers() if name not in _BY_SUFFIX_ALONE)
