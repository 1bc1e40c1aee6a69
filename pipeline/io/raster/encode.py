"""Encode a picture in memory, for pages that hold it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from pipeline.io.raster.gdal import writing

_OPTIONS: dict[str, dict[str, Any]] = {"PNG": {"zlevel": 6}, "WEBP": {"quality": 80}}


def encode(picture: NDArray[np.uint8], driver: Literal["PNG", "WEBP"]) -> bytes:
    """Return a picture `(channels, rows, columns)` of 1 to 4 channels as the bytes of a file.

    PNG keeps every value; WEBP, of 3 or 4 channels, keeps those of the fourth, which is alpha.
    """
    count, height, width = picture.shape
    profile = {"count": count, "height": height, "width": width, "dtype": "uint8"}
    with writing(Path("picture")), MemoryFile() as memory:
        with memory.open(driver=driver, **profile, **_OPTIONS[driver]) as dataset:
            dataset.write(picture)
        return bytes(memory.read())
