"""The files that GDAL reads the pixels of a raster from."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import rasterio

from pipeline.io.raster.gdal import reading

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ASIDE = (".aux.xml", ".ovr")
"""Suffixes of what other programs write beside a raster while they look at it; no pixel is read from there."""


def files_of(path: str) -> tuple[Path, ...]:
    """Return the local files that are read for the pixels at `path`, itself included: sources of a VRT, masks, headers.

    A TIFF is not opened for it.

    Raises:
        InputError: GDAL cannot open it.

    """
    if _is_tiff(Path(path)):
        return tuple(file for file in (Path(path), Path(f"{path}.msk")) if file.is_file())
    with reading(path), rasterio.open(path) as dataset:
        return tuple(Path(file) for file in dataset.files if not file.endswith(_ASIDE) and Path(file).is_file())


def _is_tiff(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return file.read(4) in _TIFF
    return False
