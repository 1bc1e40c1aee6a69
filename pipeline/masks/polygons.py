"""Convert masks to polygons: traced slab by slab, and joined where a slab ends inside one.

One slab is in memory, with the polygons that reach into the next one, however many there are in all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.classes import ClassTable
from pipeline.engine import Source
from pipeline.errors import RequestError
from pipeline.geometry import Grid
from pipeline.geometry.affine import from_pixels, to_world
from pipeline.io.raster.georeference import transform_of
from pipeline.io.raster.placement import HOW_TO_PLACE, Placement, cell_area, ground_placement
from pipeline.io.raster.shapes import LONGITUDE_LATITUDE, polygonize, transform_points
from pipeline.io.vector import writing_polygons
from pipeline.sources.disjoint_sets import DisjointSets
from pipeline.sources.passes import slabs

_EDGE = 1 / 64
"""Share of a scene's side that is projected as a straight line, to measure an area."""


@dataclass(frozen=True)
class PolygonOptions:
    """What is done to complete polygons."""

    simplify: float = 0.0
    """How far an outline may move, in world units, each by itself; 0: corners of cells, exactly."""
    min_area: float = 0.0
    """Smallest area that is written, in square meters; only for masks with a place on the Earth."""


@dataclass(frozen=True)
class Polygons:
    """Polygons of a mask in corners of its grid: x is a column, y a row."""

    values: NDArray[np.int64]
    shapes: NDArray[Any]


_NO_POLYGONS = Polygons(np.zeros(0, np.int64), np.zeros(0, object))
"""Written first, so that the file of a mask without polygons has its columns too."""


def write_vectors(
    labels: Source, path: Path, nodata: int, classes: ClassTable, options: PolygonOptions = PolygonOptions()
) -> None:
    """Write the regions of equal labels, except nodata, as polygons; cells are connected along edges.

    Each polygon has the attributes `value`, `class`, `cells` and `area`, in square meters. A mask without a place on
    the Earth can only be written as GeoParquet, which says that the CRS is unknown; `area` then counts cells.

    Raises:
        RequestError: If the mask is one of a volume, or has no place where one is needed.

    """
    if not labels.grid.is_scene:
        raise RequestError(f"{path}: polygons are made from scenes only; this is the mask of a volume")
    ground = _Ground.of(labels.grid)
    ground.check(path, options)
    names = {entry.value: entry.name for entry in classes}
    with writing_polygons(path, ground.crs) as file:
        for polygons in chain([_NO_POLYGONS], trace_polygons(labels, nodata)):
            if polygons is _NO_POLYGONS or len(polygons.values):
                file.add(*_features(polygons, ground, names, options))


@dataclass(frozen=True)
class _Ground:
    """What the polygons of a mask stand on."""

    grid: Grid
    place: Placement | None
    """On the Earth; None: nowhere, or in a CRS of a site."""
    crs: str | None
    """CRS of the coordinates."""

    @classmethod
    def of(cls, grid: Grid) -> _Ground:
        place = ground_placement(grid)
        local = None if transform_of(grid) is None else grid.crs
        return cls(grid, place, local if place is None else place.crs)

    def check(self, path: Path, options: PolygonOptions) -> None:
        """Raise RequestError if a format, or a least area, needs a place that the mask does not have."""
        suffix = path.suffix.lower()
        known = {".geojson": self.place is not None, ".gpkg": self.crs is not None}
        if not known.get(suffix, True):
            raise RequestError(
                f"{path}: needs a CRS, and the mask has no place on the Earth; {HOW_TO_PLACE}, or export to "
                ".parquet, where the CRS may be unknown"
            )
        if options.min_area and self.place is None and cell_area(self.grid) is None:
            raise RequestError(f"--min-area {options.min_area:g}: is in square meters, and the mask has no CRS")

    def world(self, corners: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return coordinates `(n, 2)` of corners of the grid."""
        if self.place is None:
            return to_world(self.grid.affine, from_pixels(corners)).T
        return self.place.world(from_pixels(corners).T)

    def areas(self, shapes: NDArray[Any]) -> NDArray[np.float64]:
        """Return areas of polygons in corners of the grid: in square meters, else in cells."""
        if (place := self.place) is None:
            return np.asarray(shapely.area(shapes) * (cell_area(self.grid) or 1.0), np.float64)
        fine = shapely.segmentize(shapes, max(1.0, min(64.0, _EDGE * max(self.grid.shape))))
        return np.asarray(shapely.area(shapely.transform(fine, lambda at: place.to_ground(self.world(at)))), np.float64)


def outline(grid: Grid) -> Any:  # noqa: ANN401  (of shapely, which has no types)
    """Return the corners of a scene as a polygon in longitude and latitude; None without a place on the Earth."""
    place = ground_placement(grid)
    if place is None:
        return None
    rows, columns = grid.shape
    corners = np.array([(0, 0), (columns, 0), (columns, rows), (0, rows)], np.float64)
    world = place.world(from_pixels(corners).T)
    return shapely.Polygon(transform_points(world, place.crs, LONGITUDE_LATITUDE))


def trace_polygons(labels: Source, nodata: int, rows: int | None = None) -> Iterator[Polygons]:
    """Yield the polygons that are complete with each slab of `rows` rows."""
    seam = _Seam(labels.grid.shape[1])
    for box, pixels in slabs(labels, rows):
        pieces = [
            _Piece(value, shapely.Polygon(rings[0], rings[1:]))
            for value, rings in polygonize(pixels.values[0], nodata, box.start[0])
        ]
        last = box.stop[0] == labels.grid.shape[0]
        whole = seam.advance(pieces, box.start[0], None if last else box.stop[0])
        yield Polygons(
            np.array([one.value for one in whole], np.int64), _drop_straight_corners([one.polygon() for one in whole])
        )


@dataclass(eq=False)
class _Piece:
    """A region as far as it is known: its parts in the slabs so far."""

    value: int
    first: Any
    """Part in the slab in which it was begun."""
    others: list[Any] = field(default_factory=list)

    def polygon(self) -> Any:  # noqa: ANN401  (of shapely, which has no types)
        """Return the union of all parts."""
        return shapely.union_all([self.first, *self.others]) if self.others else self.first


class _Seam:
    """The pieces that reach the lower edge of the slabs so far."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._open: list[_Piece] = []
        self._owners = self._no_owners()

    def advance(self, pieces: Sequence[_Piece], top: int, bottom: int | None) -> list[_Piece]:
        """Join the pieces of a slab to those above; return the complete ones, in the order of their first parts."""
        known = [*self._open, *pieces]
        sets = DisjointSets(len(known))
        below = self._along(pieces, top, len(self._open))
        for above, under in np.unique(np.stack([self._owners, below]), axis=1).T.tolist():
            if above >= 0 <= under and known[above].value == known[under].value:
                sets.join(above, under)
        joined = _merge(known, sets)
        owners = self._no_owners() if bottom is None else self._along(pieces, bottom, len(self._open))
        still = dict.fromkeys(sets.root(owner) for owner in np.unique(owners[owners >= 0]).tolist())
        self._open = [joined[root] for root in still]
        places = {root: index for index, root in enumerate(still)}
        self._owners = np.array([places[sets.root(o)] if o >= 0 else -1 for o in owners.tolist()], np.int64)
        return [piece for root, piece in joined.items() if root not in places]

    def _along(self, pieces: Sequence[_Piece], row: int, first: int) -> NDArray[np.int64]:
        """Return, by column, the index (from `first`) of the piece with an edge on the line above `row`; -1: none."""
        owners = self._no_owners()
        for index, piece in enumerate(pieces):
            _, upper, _, lower = piece.first.bounds
            if row in (upper, lower):
                corners = shapely.get_coordinates(piece.first.exterior)
                ends = np.sort(np.column_stack([corners[:-1, 0], corners[1:, 0]]).astype(np.int64), axis=1)
                on = (corners[:-1, 1] == row) & (corners[1:, 1] == row)
                for left, right in ends[on].tolist():
                    owners[left:right] = first + index
        return owners

    def _no_owners(self) -> NDArray[np.int64]:
        return np.full(self._columns, -1, np.int64)


def _merge(pieces: Sequence[_Piece], sets: DisjointSets) -> dict[int, _Piece]:
    """Merge the pieces of each set, keyed by its root; sets contain indices into `pieces`."""
    joined: dict[int, _Piece] = {}
    for index, piece in enumerate(pieces):
        whole = joined.setdefault(sets.root(index), piece)
        if whole is not piece:
            whole.others += [piece.first, *piece.others]
    return joined


def _drop_straight_corners(polygons: Sequence[Any]) -> NDArray[Any]:
    """Drop the corners at which an edge does not turn, and bring rings and corners into one order."""
    if not polygons:
        return np.zeros(0, object)
    kind, corners, (rings, starts) = shapely.to_ragged_array(shapely.normalize(np.array(polygons, object)))
    steps = np.diff(corners, axis=0) != 0
    turning = np.ones(len(corners), bool)
    turning[1:-1] = (steps[:-1] != steps[1:]).any(axis=1)
    turning[rings[:-1]] = turning[rings[1:] - 1] = True
    kept = np.concatenate([[0], np.cumsum(turning)])
    shapes: NDArray[Any] = shapely.normalize(shapely.from_ragged_array(kind, corners[turning], (kept[rings], starts)))
    return shapes


def _features(
    polygons: Polygons, ground: _Ground, names: dict[int, str], options: PolygonOptions
) -> tuple[NDArray[Any], dict[str, Any]]:
    """Return polygons in world coordinates, with their attributes."""
    cells = np.rint(shapely.area(polygons.shapes)).astype(np.int64)
    areas = ground.areas(polygons.shapes)
    shapes = shapely.transform(polygons.shapes, ground.world)
    if options.simplify:
        shapes = shapely.simplify(shapes, options.simplify)
    kept = (areas >= options.min_area) & ~shapely.is_empty(shapes)
    values = polygons.values[kept]
    classes = np.array([names.get(value, str(value)) for value in values.tolist()], object)
    return shapes[kept], {"value": values, "class": classes, "cells": cells[kept], "area": areas[kept]}
