"""Measure the area of each class on the ground, by zone: one pass over a mask, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.classes import ClassTable
from pipeline.engine import Source
from pipeline.errors import RequestError
from pipeline.geometry import Box, Grid, Region
from pipeline.geometry.region import Ring
from pipeline.io.mask_files import check_mask, mask_info
from pipeline.io.opening import open_source
from pipeline.io.raster.clipped import cells_of
from pipeline.io.raster.coordinates import rings_to_pixels
from pipeline.io.raster.placement import cell_area, ground_placement
from pipeline.io.tables import write_rows
from pipeline.optional import need
from pipeline.sources.passes import slabs

_BLOCK, _BLOCKS = 64, 64
"""Cells whose areas are taken as equal, and blocks of them that a side has at least."""
Floats = NDArray[np.float64]
SQUARE_METERS, PIXELS = "square meters", "pixels"


@dataclass(frozen=True)
class Area:
    """The area of a class in a zone."""

    zone: str
    """Name of the zone; empty for the whole mask."""
    value: int
    name: str
    """Name of the class."""
    cells: int
    area: float
    """In `unit`, on the ground."""
    share: float
    """Share of the zone's observed area, 0 to 1."""
    unit: str = SQUARE_METERS
    """Unit of `area`: `SQUARE_METERS`, or `PIXELS` for a mask without a place on the Earth."""


@dataclass(frozen=True)
class Zone:
    """A named part of a mask."""

    name: str
    region: Region | None
    """None: all of it."""


def areas(mask: str | Path, zones: Path | None = None, name: str | None = None) -> list[Area]:
    """Measure the area of each class in each zone of a mask.

    Zones may overlap, and features with the same name are one zone. A cell belongs to each zone that contains its
    center.

    Args:
        mask: The mask of a scene.
        zones: File of polygons, in any CRS; None: the whole mask.
        name: Column with the names of the zones; None: they are numbered from 1.

    Raises:
        PipelineError: If the mask or the zones cannot be used.

    """
    source = open_source(mask)
    try:
        check_mask(mask, source, "scene")
        info = mask_info(mask)
        parts = [Zone("", None)] if zones is None else read_zones(zones, name, source.grid)
        return _measure_zones(source, parts, info.nodata, info.classes)
    finally:
        source.close()


def write_csv(path: Path, found: Sequence[Area]) -> None:
    """Write areas as a table."""
    write_rows(path, [field.name for field in fields(Area)], map(astuple, found))


def read_zones(path: Path, name: str | None, grid: Grid) -> list[Zone]:
    """Read the zones in a file of polygons, in the order of their first features."""
    need("vectors", f"--zones {path}")
    from pipeline.io.vector import read_polygons

    found = read_polygons(path)
    if name is not None and name not in found.table:
        raise RequestError(f"--zones {path}: has no column {name}; it has {', '.join(found.table) or 'none'}")
    polygons: dict[str, list[tuple[Ring, ...]]] = {}
    for rings, feature in zip(found.rings, found.features, strict=True):
        word = str(feature + 1) if name is None else str(found.table[name][feature])
        polygons.setdefault(word, []).append(rings_to_pixels(rings, found.crs, grid))
    return [Zone(word, Region(tuple(parts))) for word, parts in polygons.items()]


def _measure_zones(source: Source, zones: Sequence[Zone], nodata: int | None, classes: ClassTable) -> list[Area]:
    size = 1 << 8 * source.dtype.itemsize
    counts = np.zeros((len(zones), size), np.int64)
    sums = np.zeros((len(zones), size))
    for box, pixels in slabs(source):
        labels, ground = pixels.values[0], cell_areas(source.grid, box)
        for index, zone in enumerate(zones):
            part = box if zone.region is None else zone.region.within(box)
            if part.size:
                at = part.within(box.start).slices
                inside = slice(None) if zone.region is None else cells_of(zone.region, part)
                values = labels[at][inside].ravel()
                counts[index] += np.bincount(values, minlength=size)[:size]
                sums[index] += np.bincount(values, ground[at][inside].ravel(), minlength=size)[:size]
    if nodata is not None:
        counts[:, nodata] = sums[:, nodata] = 0
    by_zone = zip(zones, counts, sums, strict=True)
    unit = PIXELS if ground_placement(source.grid) is None and cell_area(source.grid) is None else SQUARE_METERS
    return [area for zone, cells, ground in by_zone for area in _rows(zone.name, cells, ground, classes, unit)]


def _rows(zone: str, counts: NDArray[np.int64], sums: Floats, classes: ClassTable, unit: str) -> list[Area]:
    names = {entry.value: entry.name for entry in classes}
    values = sorted({*names, *np.flatnonzero(counts).tolist()})
    total = float(sums.sum()) or 1.0
    return [
        Area(
            zone, value, names.get(value, str(value)), int(counts[value]), float(sums[value]), sums[value] / total, unit
        )
        for value in values
    ]


def cell_areas(grid: Grid, box: Box) -> Floats:
    """Return the area of each cell of `box`, shape `box.shape`: in square meters, or 1 each if the grid has no place.

    Blocks of cells are measured as parallelograms in an equal-area projection around the middle of the grid.
    """
    place = ground_placement(grid)
    side = max(1, min(_BLOCK, min(grid.shape) // _BLOCKS))
    rows, columns = (_edges(start, stop, side) for start, stop in zip(box.start, box.stop, strict=True))
    at = np.stack(np.meshgrid(rows - 0.5, columns - 0.5, indexing="ij"), axis=-1).reshape(-1, 2)
    found = None if place is None else place.to_ground(place.world(at))
    if found is None:
        return np.full(box.shape, cell_area(grid) or 1.0)
    corners = found.reshape(len(rows), len(columns), 2)
    down, across = corners[1:, 1:] - corners[:-1, :-1], corners[1:, :-1] - corners[:-1, 1:]
    blocks = np.abs(down[..., 0] * across[..., 1] - down[..., 1] * across[..., 0]) / 2
    heights, widths = np.diff(rows).astype(int), np.diff(columns).astype(int)
    each = blocks / np.outer(heights, widths)
    return np.repeat(np.repeat(each, heights, axis=0), widths, axis=1)


def _edges(start: int, stop: int, side: int) -> Floats:
    """Return edges of blocks from `start` to `stop`; inner ones are multiples of `side`, the same in any box."""
    inner = range((start // side + 1) * side, stop, side)
    return np.array([start, *inner, stop], np.float64)
