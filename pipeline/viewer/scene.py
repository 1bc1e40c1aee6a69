"""Scenes in the viewer: what there is, tiles, the values of a cell, and the areas within an outline."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import isfinite
from typing import Any

import numpy as np

from pipeline.classes import hex_color
from pipeline.errors import RequestError
from pipeline.files.visible import visible
from pipeline.geometry import Box, Region
from pipeline.io.band_names import BandName, HasBands, listed
from pipeline.io.drawing import png_of
from pipeline.io.raster.clipped import cells_of
from pipeline.io.raster.ground import Ground, outline_of
from pipeline.io.raster.shapes import transform_points
from pipeline.masks.paint import RAMP
from pipeline.viewer.layers import Layers, described_classes
from pipeline.viewer.reader import TILE, levels_of
from pipeline.viewer.shown import ShownLayer

_COUNTED = 1 << 22
"""Most cells that are counted within an outline."""
_LISTED = 16
"""Most channels whose values are shown."""
_MESH = 33
"""Points along each side by which a basemap is placed under a scene."""
_AROUND = 1.0
"""How far a basemap reaches beyond a scene, in sides of the scene."""
WEB_MERCATOR = "EPSG:3857"


class SceneView:
    """Scenes on one grid."""

    def __init__(self, layers: Layers, bands: Sequence[BandName] | None = None, basemap: str | None = None) -> None:
        """Open what is shown; `bands` are those of images, `basemap` an address with `{x}`, `{y}` and `{z}`."""
        self._layers, self._basemap = layers, basemap
        self.grid = layers.shown[0].source.grid
        self.ground = Ground(self.grid)
        self._notes = [*layers.notes]
        if basemap is not None and self.ground.place is None:
            self._notes.append("the scene has no place on the Earth, so there is no map under it")
        self._shown = [ShownLayer(layer, bands) for layer in layers.shown]

    def info(self) -> dict[str, Any]:
        """Return what a page needs to know, as JSON values."""
        return {
            "kind": "scene",
            "shape": list(self.grid.shape),
            "levels": levels_of(self.grid.shape),
            "tile": TILE,
            **self.ground.describe(),
            "basemap": None if self.ground.place is None else self._basemap,
            "mesh": self._mesh() if self._basemap is not None and self.ground.place is not None else None,
            "layers": [self._described(shown) for shown in self._shown],
            "notes": self._notes,
        }

    def state(self) -> dict[str, Any]:
        """Return how much there is of what is shown of each layer from afar, 0 to 1, and what could not be read."""
        readers = [shown.reader for shown in self._shown]
        problems = [visible(reader.problem) for reader in readers if reader.problem]
        return {"progress": [reader.progress for reader in readers], "problems": problems}

    def tile(self, layer: int, level: int, row: int, column: int, hidden: Collection[int]) -> bytes:
        """Return a tile as PNG; classes in `hidden` are transparent."""
        shown = self._layer(layer)
        if not 0 <= level < levels_of(self.grid.shape):
            raise RequestError(f"there is no level {level}; there are {levels_of(self.grid.shape)}")
        return png_of(shown.tile(level, row, column, hidden), level=1)

    def at(self, row: int, column: int) -> dict[str, Any]:
        """Return the place and the values of a cell, as JSON values."""
        if not Box.whole(self.grid.shape).contains(Box((row, column), (row + 1, column + 1))):
            raise RequestError(f"row {row}, column {column} is outside of the scene, {self.grid.shape}")
        cell = np.array([[row, column]], np.float64)
        world, lonlat = self.ground.world(cell), self.ground.lonlat(cell)
        return {
            "row": row,
            "column": column,
            "world": None if world is None else _finite(world[0].tolist()),
            "lonlat": None if lonlat is None else _finite(lonlat[0].tolist()),
            "values": [self._values(shown, Box((row, column), (row + 1, column + 1))) for shown in self._shown],
        }

    def areas(self, points: Sequence[Sequence[float]]) -> dict[str, Any]:
        """Return the area within an outline of columns and rows, and the share of each class of each mask in it."""
        outline = outline_of(points)
        area, unit = self.ground.area(outline)
        masks = [shown for shown in self._shown if shown.layer.kind == "mask"]
        ring = tuple((float(x), float(y)) for x, y in (*outline, outline[0]))
        found = [{"name": shown.layer.name, **self._shares(shown, ring)} for shown in masks]
        return {"area": area, "unit": unit, "masks": found}

    def close(self) -> None:
        """Close all files."""
        for shown in self._shown:
            shown.close()
        self._layers.close()

    def _described(self, shown: ShownLayer) -> dict[str, Any]:
        layer, source = shown.layer, shown.layer.source
        bands = [visible(name) for name in listed(source.band_info)] if isinstance(source, HasBands) else []
        return {
            "name": layer.name,
            "kind": layer.kind,
            "channels": source.channels,
            "dtype": source.dtype.name,
            "bands": bands,
            **described_classes(layer),
            **(self._described_values(shown) if layer.kind == "values" else {}),
        }

    def _described_values(self, shown: ShownLayer) -> dict[str, Any]:
        """Return the colors of a layer and what they stand for; over a mask it is off at first."""
        covers = any(other.kind == "mask" for other in self._layers.shown)
        colors = [hex_color(color) for color in RAMP]
        return {"ramp": colors, "range": shown.ranges[0], "scaling": shown.layer.scaling, "off": covers}

    def _layer(self, number: int) -> ShownLayer:
        if not 0 <= number < len(self._shown):
            raise RequestError(f"there is no layer {number}; there are {len(self._shown)}")
        return self._shown[number]

    def _values(self, shown: ShownLayer, cell: Box) -> dict[str, Any]:
        layer = shown.layer
        values, valid = layer.source.read(cell)
        seen = valid is None or bool(valid.all())
        found = [_number(value) for value in values[:_LISTED, 0, 0].tolist()]
        if layer.kind != "mask":
            return {"values": found, "observed": seen}
        names = {entry.value: visible(entry.name) for entry in layer.classes}
        label = int(values[0, 0, 0])
        observed = seen and label != layer.nodata
        return {"values": found, "observed": observed, "class": names.get(label) if observed else None}

    def _shares(self, shown: ShownLayer, ring: tuple[tuple[float, float], ...]) -> dict[str, Any]:
        """Return the share of each class within a ring, from every n-th cell where there are many."""
        whole = Box.whole(self.grid.shape)
        box, step = Region(((ring,),)).within(whole), 1
        while box.size > _COUNTED * step * step:
            step *= 2
        box = Box(tuple(side // step * step for side in box.start), box.stop)
        region = Region(((tuple((x / step, y / step) for x, y in ring),),))
        labels, valid = shown.reader.read(box, step)
        start = tuple(side // step for side in box.start)
        inside = cells_of(region, Box(start, tuple(a + b for a, b in zip(start, labels.shape[1:], strict=True))))
        inside &= (labels[0] != shown.layer.nodata) & (True if valid is None else valid)
        counts = np.bincount(labels[0][inside].ravel(), minlength=1)
        total = int(counts.sum())
        shares = {int(value): int(counts[value]) / total for value in np.flatnonzero(counts)}
        return {"step": step, "shares": [{"value": value, "share": share} for value, share in shares.items()]}

    def _mesh(self) -> dict[str, Any]:
        """Return Web Mercator coordinates of points over the scene and around it, row by row."""
        ends = [(-_AROUND * side - 0.5, (1 + _AROUND) * side - 0.5) for side in self.grid.shape]
        rows, columns = (np.linspace(*pair, _MESH) for pair in ends)
        cells = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
        place = self.ground.place
        web = transform_points(place.world(cells), place.crs, WEB_MERCATOR) if place is not None else cells * np.nan
        return {
            "columns": [float(columns[0] + 0.5), float(columns[-1] + 0.5)],
            "rows": [float(rows[0] + 0.5), float(rows[-1] + 0.5)],
            "side": _MESH,
            "points": [_finite(point) for point in web.tolist()],
        }


def _number(value: float) -> float | None:
    return value if isfinite(value) else None


def _finite(values: Sequence[float]) -> list[float] | None:
    return list(values) if all(map(isfinite, values)) else None
