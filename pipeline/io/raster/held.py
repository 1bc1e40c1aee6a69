"""How much of a raster GDAL holds in memory while it is read, beside the pixels that it returns."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
from rasterio.enums import Interleaving
from rasterio.io import DatasetReader

from pipeline.io.raster.gdal import CACHE

_WHOLE = {"WEBP": 1, "GIF": 2, "BIGGIF": 2, "XPM": 1, "HEIF": 1, "AVIF": 1, "JPEGXL": 2}
"""Drivers that decode a whole image at once, and how many times its bytes they hold."""
_COEFFICIENTS = 2
"""Bytes that libjpeg holds of each value of a progressive image."""
_PROGRESSIVE, _START_OF_FRAME = (0xC2, 0xC6, 0xCA, 0xCE), range(0xC0, 0xD0)
_OTHER_SEGMENTS = (0xC4, 0xC8, 0xCC)
"""JPEG markers; some from 0xC0 on begin no frame."""
_MARKER = 4
"""Bytes of a marker and the length after it."""


def bytes_held(dataset: DatasetReader) -> int:
    """Return the bytes that each handle of a dataset holds while it is read; 0 where GDAL's cache is large enough.

    That is a decoded block with its packed bytes, or the whole image where it is decoded at once. GDAL reads a TIFF of
    one strip row by row, but holds the packed strip.
    """
    itemsize = np.dtype(dataset.dtypes[0]).itemsize
    image = int(prod(dataset.shape) * dataset.count * itemsize)
    held = image * _times_whole(dataset) or _decoded(dataset) * itemsize + _packed(dataset)
    return held if held > CACHE else 0


def _decoded(dataset: DatasetReader) -> int:
    """Values of a block: those of all bands, and once more those of one, where they are interleaved by pixel."""
    planes = dataset.count if dataset.interleaving == Interleaving.pixel else 1
    return int(prod(dataset.block_shapes[0]) * (planes + (planes > 1)))


def _packed(dataset: DatasetReader) -> int:
    """Bytes of the first block in the file, of a TIFF that is compressed."""
    found = dataset.get_tag_item("BLOCK_SIZE_0_0", "TIFF", bidx=1) if dataset.compression else None
    return int(found or 0)


def _times_whole(dataset: DatasetReader) -> int:
    """How many times its bytes a driver holds of the whole image; 0: it decodes rows or blocks."""
    if dataset.driver in ("PNG", "JPEG"):
        path = Path(dataset.name)
        if dataset.driver == "PNG":
            return int(not path.is_file() or _is_interlaced(path))
        return _COEFFICIENTS * (not path.is_file() or _is_progressive(path))
    return _WHOLE.get(dataset.driver, 0)


def _is_interlaced(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(29)[28:] == b"\x01"


def _is_progressive(path: Path) -> bool:
    """Return whether the first frame of a JPEG file is progressive; segments before it are skipped."""
    with path.open("rb") as file:
        file.seek(2)
        while len(marker := file.read(_MARKER)) == _MARKER and marker[0] == 0xFF:
            if marker[1] in _START_OF_FRAME and marker[1] not in _OTHER_SEGMENTS:
                return marker[1] in _PROGRESSIVE
            file.seek(int.from_bytes(marker[2:], "big") - 2, 1)
    return False
