"""An area of interest, as a user names it, in the cells of a scene."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import RequestError
from pipeline.geometry import Grid, Region
from pipeline.geometry.region import Ring
from pipeline.io.raster.shapes import LONGITUDE_LATITUDE, moved
from pipeline.optional import need

_EDGE = 1 / 64
"""Longest part of an outline, as a share of its extent, that is taken to another system as a straight line."""
_SIDES = 4
_WORDS = "west,south,east,north in degrees, with a system at the end if in another, or a file of polygons"

Points = NDArray[np.float64]


def read_aoi(words: str, grid: Grid) -> Region:
    """The region of a scene on `grid` that `words` name: a box, or a file of polygons in any system.

    Raises RequestError for what is neither, for a scene without a place, and where nothing of the scene is named.
    """
    corners, system = _box(words)
    polygons = [[corners]] if corners is not None else []
    if corners is None:
        polygons, system = _polygons(words)
    cells = [cells_of_rings(rings, system, grid) for rings in polygons]
    region = Region(tuple(rings for rings in cells if _meets(rings[0], grid)))
    if not region.polygons:
        raise RequestError(f"--aoi {words}: names no cell of the scene; are both in the systems that they say?")
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
    system = parts[_SIDES] if len(parts) > _SIDES else LONGITUDE_LATITUDE
    return np.array([(west, south), (east, south), (east, north), (west, north), (west, south)]), system


def _polygons(words: str) -> tuple[list[list[Points]], str | None]:
    if not Path(words).is_file():
        raise RequestError(f"--aoi {words}: there is no such file; give {_WORDS}")
    need("vectors", f"--aoi {words}")
    from pipeline.io.vector import read_polygons

    found = read_polygons(Path(words))
    return found.rings, found.crs


def cells_of_rings(rings: Sequence[Points], system: str | None, grid: Grid) -> tuple[Ring, ...]:
    """The rings of a polygon, of the system `system`, in corners of the grid; RequestError where that has no place."""
    if grid.reference.get("gdal", {}).get("transform", True) is None:
        raise RequestError("the scene has no transform, so nobody can say where in it an outline lies")
    return tuple(_cells(ring, system, grid) for ring in rings)


def _cells(ring: Points, system: str | None, grid: Grid) -> Ring:
    """A ring in corners of the grid; where either system is not known they count as one."""
    if system is not None and grid.crs is not None:
        ring = moved(_dense(ring), system, grid.crs)
    if not np.isfinite(ring).all():
        raise RequestError("an outline has corners that lie nowhere in the scene's system; cut it to where they do")
    (a, b, c), (d, e, f), _ = grid.affine
    rows, columns = np.linalg.solve([[a, b], [d, e]], (ring - (c, f)).T)
    return tuple(zip((columns + 0.5).tolist(), (rows + 0.5).tolist(), strict=True))


def _dense(ring: Points) -> Points:
    longest = _EDGE * max(np.ptp(ring, axis=0).max(), 1e-12)
    parts = np.maximum(1, np.ceil(np.linalg.norm(np.diff(ring, axis=0), axis=1) / longest)).astype(int)
    steps = [
        np.linspace(start, stop, count, endpoint=False)
        for start, stop, count in zip(ring[:-1], ring[1:], parts, strict=True)
    ]
    return np.concatenate([*steps, ring[-1:]])


def _meets(ring: Iterable[tuple[float, float]], grid: Grid) -> bool:
    corners = np.array(list(ring))
    rows, columns = grid.shape
    low, high = corners.min(0), corners.max(0)
    return bool(low[0] < columns and low[1] < rows and high[0] > 0 and high[1] > 0)
