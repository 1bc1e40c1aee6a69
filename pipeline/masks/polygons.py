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
from pipeline.io.raster.shapes import local_equal_area_crs, polygonize, transform_points
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
    """Smallest area that is written, in square meters, or square world units without a CRS."""


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

    Each polygon has the attributes `value`, `class`, `cells` and `area`, in square meters if the mask is georeferenced.

    Raises:
        RequestError: If the mask is one of a volume.

    """
    if not labels.grid.is_scene:
        raise RequestError(f"{path}: polygons are made from scenes only; this is the mask of a volume")
    names = {entry.value: entry.name for entry in classes}
    with writing_polygons(path, labels.grid.crs) as file:
        for polygons in chain([_NO_POLYGONS], trace_polygons(labels, nodata)):
            if polygons is _NO_POLYGONS or len(polygons.values):
                file.add(*_features(polygons, labels.grid, names, options))


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
    polygons: Polygons, grid: Grid, names: dict[int, str], options: PolygonOptions
) -> tuple[NDArray[Any], dict[str, Any]]:
    """Return polygons in world coordinates, with their attributes."""
    cells = np.rint(shapely.area(polygons.shapes)).astype(np.int64)
    areas = _areas(polygons.shapes, grid)
    shapes = shapely.transform(polygons.shapes, lambda corners: _to_world(corners, grid))
    if options.simplify:
        shapes = shapely.simplify(shapes, options.simplify)
    kept = (areas >= options.min_area) & ~shapely.is_empty(shapes)
    values = polygons.values[kept]
    classes = np.array([names.get(value, str(value)) for value in values.tolist()], object)
    return shapes[kept], {"value": values, "class": classes, "cells": cells[kept], "area": areas[kept]}


def _areas(shapes: NDArray[Any], grid: Grid) -> NDArray[np.float64]:
    equal_area, crs = local_equal_area_crs(grid), grid.crs
    if equal_area is None or crs is None:
        return np.asarray(shapely.area(shapes) * grid.cell_volume, np.float64)
    fine = shapely.segmentize(shapes, max(1.0, min(64.0, _EDGE * max(grid.shape))))
    areas = shapely.area(
        shapely.transform(fine, lambda corners: transform_points(_to_world(corners, grid), crs, equal_area))
    )
    return np.asarray(areas, np.float64)


def _to_world(corners: NDArray[np.float64], grid: Grid) -> NDArray[np.float64]:
    return to_world(grid.affine, from_pixels(corners)).T
