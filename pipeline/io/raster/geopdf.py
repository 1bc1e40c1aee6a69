"""Write a picture as a PDF, which may know where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from pipeline.errors import RequestError
from pipeline.files.atomic import atomic_write
from pipeline.geometry import Grid
from pipeline.io.raster.gdal import writing
from pipeline.io.raster.georeference import parse_crs, transform_of


def write_geopdf(
    path: Path, grid: Grid, cells: float, picture: NDArray[np.uint8], rows: int, columns: int, dpi: int
) -> None:
    """Write a picture `(3, height, width)` as a page, on which viewers of GeoPDF (ISO 32000) measure coordinates.

    The first `rows` and `columns` of it are a map of the scene on `grid`, each pixel `cells` cells wide; the rest is
    outside of the neatline.

    Raises:
        RequestError: The scene has no transform, or no CRS.
        OutputError: The file cannot be written.

    """
    words = transform_of(grid)
    if words is None or grid.crs is None:
        raise RequestError(f"{path}: the scene has no place, which a GeoPDF needs; write .png or .svg")
    transform = Affine(*words) @ Affine.scale(cells)
    place: dict[str, Any] = {"crs": parse_crs(grid.crs), "transform": transform}
    corners = [transform @ corner for corner in ((0, 0), (columns, 0), (columns, rows), (0, rows), (0, 0))]
    neatline = f"POLYGON(({', '.join(f'{x!r} {y!r}' for x, y in corners)}))"
    _write(path, picture, place, {"dpi": dpi, "geo_encoding": "ISO32000", "neatline": neatline})


def write_pdf(path: Path, picture: NDArray[np.uint8], dpi: int) -> None:
    """Write a picture `(3, height, width)` as a page, each pixel as it is.

    Raises:
        OutputError: The file cannot be written.

    """
    _write(path, picture, {}, {"dpi": dpi, "geo_encoding": "NONE"})


def _write(path: Path, picture: NDArray[np.uint8], place: dict[str, Any], how: dict[str, Any]) -> None:
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "photometric": "rgb"}
    shape = {"height": picture.shape[1], "width": picture.shape[2]}
    with atomic_write(path) as draft, writing(path), MemoryFile() as memory:
        with memory.open(**profile, **shape, **place) as dataset:
            dataset.write(picture)
        # What GDAL 3.10 packs on several threads cannot be unpacked.
        with memory.open() as dataset, rasterio.Env(GDAL_NUM_THREADS="1"):
            rasterio.shutil.copy(dataset, draft, driver="PDF", compress="DEFLATE", **how)
