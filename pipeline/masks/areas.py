"""Measure the area of each class on the ground, by zone: one pass over a mask, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.classes import ClassTable
from pipeline.engine import Source
from pipeline.errors import RequestError
from pipeline.geometry import Box, Grid, Region, cut_slabs
from pipeline.geometry.region import Ring
from pipeline.io.mask_files import check_mask, mask_info
from pipeline.io.opening import open_source
from pipeline.io.raster.clipped import cells_of
from pipeline.io.raster.coordinates import rings_to_pixels
from pipeline.io.raster.placement import cell_area, ground_placement
from pipeline.io.tables import write_rows
from pipeline.optional import need
from pipeline.sources.passes import SCENE_ROWS

_BLOCK, _BLOCKS = 64, 64
"""Cells whose areas are taken as equal, and blocks of them that a side has at least."""
_AT_ONCE = 1 << 20
"""Cells that are read and added up at a time, however wide a scene is."""
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
    for group in cut_slabs(source.grid.shape, SCENE_ROWS):
        added = np.zeros_like(sums)
        ground = ground_of(source.grid, group)
        for box in _read_at_once(group, source.block[0]):
            labels = source.read(box).values[0]
            for index, zone in enumerate(zones):
                for values, cells in _cells(zone.region, box, labels, ground):
                    counts[index] += np.bincount(values, minlength=size)
                    added[index] = _added(added[index], values, cells)
        sums += added
    if nodata is not None:
        counts[:, nodata] = sums[:, nodata] = 0
    by_zone = zip(zones, counts, sums, strict=True)
    unit = PIXELS if ground_placement(source.grid) is None and cell_area(source.grid) is None else SQUARE_METERS
    return [area for zone, cells, ground in by_zone for area in _rows(zone.name, cells, ground, classes, unit)]


def _read_at_once(group: Box, block: int) -> tuple[Box, ...]:
    """Cut a box into boxes of about `_AT_ONCE` cells, in whole blocks."""
    return _cut(group, block * max(1, _AT_ONCE // (block * group.shape[1])))


def _cut(box: Box, height: int) -> tuple[Box, ...]:
    (top, left), (bottom, right) = box.start, box.stop
    return tuple(Box((row, left), (min(row + height, bottom), right)) for row in range(top, bottom, height))


def _cells(
    region: Region | None, box: Box, labels: NDArray[np.generic], ground: Ground
) -> Iterator[tuple[NDArray[np.generic], Floats]]:
    """Yield the values and areas of the cells of a box that are in a region, row by row, not too many at a time."""
    part = box if region is None else region.within(box)
    inside = None if region is None or not part.size else cells_of(region, part)
    for strip in _cut(part, max(1, _AT_ONCE // max(1, part.shape[1]))):
        chosen = ... if inside is None else inside[strip.within(part.start).slices]
        yield labels[strip.within(box.start).slices][chosen].ravel(), ground.of(strip)[chosen].ravel()


def _added(sums: Floats, values: NDArray[np.generic], areas: Floats) -> Floats:
    """Return sums with these added one after another, so that they do not depend on how many come at a time."""
    size = len(sums)
    every = np.arange(size, dtype=values.dtype)
    added = np.bincount(np.concatenate([every, values]), np.concatenate([sums, areas]), minlength=size)
    return np.asarray(added, np.float64)


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


@dataclass(frozen=True)
class Ground:
    """Areas of the cells of a box, by blocks of cells whose areas are taken as equal."""

    rows: Floats
    """Edges of the blocks."""
    columns: Floats
    each: Floats
    """Area of a cell of each block: in square meters, or 1 if the grid has no place."""

    def of(self, part: Box) -> Floats:
        """Return the area of each cell of a part of the box, in its shape."""
        heights, widths = (
            np.diff(np.clip(edges, start, stop)).astype(int)
            for edges, start, stop in zip((self.rows, self.columns), part.start, part.stop, strict=True)
        )
        return np.repeat(np.repeat(self.each, heights, axis=0), widths, axis=1)


def ground_of(grid: Grid, box: Box) -> Ground:
    """Measure the cells of a box: blocks of them are parallelograms in an equal-area projection around the grid."""
    place = ground_placement(grid)
    side = max(1, min(_BLOCK, min(grid.shape) // _BLOCKS))
    rows, columns = (_edges(start, stop, side) for start, stop in zip(box.start, box.stop, strict=True))
    at = np.stack(np.meshgrid(rows - 0.5, columns - 0.5, indexing="ij"), axis=-1).reshape(-1, 2)
    found = None if place is None else place.to_ground(place.world(at))
    if found is None:
        return Ground(rows[[0, -1]], columns[[0, -1]], np.full((1, 1), cell_area(grid) or 1.0))
    corners = found.reshape(len(rows), len(columns), 2)
    down, across = corners[1:, 1:] - corners[:-1, :-1], corners[1:, :-1] - corners[:-1, 1:]
    blocks = np.abs(down[..., 0] * across[..., 1] - down[..., 1] * across[..., 0]) / 2
    return Ground(rows, columns, blocks / np.outer(np.diff(rows).astype(int), np.diff(columns).astype(int)))


def _edges(start: int, stop: int, side: int) -> Floats:
    """Return edges of blocks from `start` to `stop`; inner ones are multiples of `side`, the same in any box."""
    inner = range((start // side + 1) * side, stop, side)
    return np.array([start, *inner, stop], np.float64)
