"""Areas of interest: what a user writes, as a region of a scene's pixels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import RequestError
from pipeline.geometry import Grid, Region
from pipeline.io.raster.coordinates import rings_to_pixels
from pipeline.io.raster.shapes import LONGITUDE_LATITUDE
from pipeline.optional import need

_SIDES = 4
_WORDS = "west,south,east,north in degrees, or in a CRS named at the end; or a file of polygons"

Points = NDArray[np.float64]


def read_aoi(words: str, grid: Grid) -> Region:
    """Return the part of a scene on `grid` that `--aoi` selects.

    Args:
        words: A box `west,south,east,north`, in degrees or in a CRS that follows it; or a file of polygons.
        grid: Grid of the scene, which must be georeferenced.

    Raises:
        RequestError: If `words` is neither, or selects no pixel of the scene.

    """
    corners, crs = _box(words)
    polygons = [[corners]] if corners is not None else []
    if corners is None:
        polygons, crs = _polygons(words)
    cells = [rings_to_pixels(rings, crs, grid) for rings in polygons]
    region = Region(tuple(rings for rings in cells if _meets(rings[0], grid)))
    if not region.polygons:
        raise RequestError(f"--aoi {words}: does not overlap the scene; check the CRS of both")
    return region


def _box(words: str) -> tuple[Points | None, str | None]:
    parts = [part.strip() for part in words.split(",")]
    if len(parts) not in (_SIDES, _SIDES + 1):
        return None, None
    try:
        west, south, east, north = map(float, parts[:_SIDES])
    except ValueError:
        return None, None
    if not (west < east and south < north):
        raise RequestError(f"--aoi {words}: has no area; give {_WORDS}")
    crs = parts[_SIDES] if len(parts) > _SIDES else LONGITUDE_LATITUDE
    return np.array([(west, south), (east, south), (east, north), (west, north), (west, south)]), crs


def _polygons(words: str) -> tuple[list[list[Points]], str | None]:
    if not Path(words).is_file():
        raise RequestError(f"--aoi {words}: there is no such file; give {_WORDS}")
    need("vectors", f"--aoi {words}")
    from pipeline.io.vector import read_polygons

    found = read_polygons(Path(words))
    return found.rings, found.crs


def _meets(ring: Iterable[tuple[float, float]], grid: Grid) -> bool:
    corners = np.array(list(ring))
    rows, columns = grid.shape
    low, high = corners.min(0), corners.max(0)
    return bool(low[0] < columns and low[1] < rows and high[0] > 0 and high[1] > 0)
