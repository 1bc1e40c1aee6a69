"""Many rasters as one scene, without writing a mosaic."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.classes import ClassTable
from pipeline.engine.protocols import Pixels, Source
from pipeline.errors import InputError
from pipeline.files.walk import expand_pattern
from pipeline.geometry import Box, Grid
from pipeline.geometry.affine import linear, offset, solve_index
from pipeline.io.address import MOSAIC
from pipeline.io.band_names import BandName, in_another_order, listed, units_of
from pipeline.io.raster.coordinates import footprint
from pipeline.io.raster.georeference import part_of
from pipeline.io.raster.source import RasterSource
from pipeline.io.raster.warped import ReprojectedSource

_SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2")
OPEN = 32
"""Tiles that a thread holds open."""
_APART = 1e-3
"""Cells by which a tile may be off the grid of the first: the effect of rounding in headers."""


class Tile(NamedTuple):
    """A raster and its place in the mosaic."""

    path: str
    box: Box
    """In cells of the mosaic."""
    origin: tuple[int, int]
    """The cell of the mosaic from which the tile's own cells are counted."""


def tiles_of(name: str) -> list[str]:
    """Return the files of `mosaic:FOLDER` or `mosaic:PATTERN`, sorted.

    Raises:
        InputError: There are none.

    """
    named = name.removeprefix(MOSAIC)
    folder = Path(named)
    paths = sorted(folder.iterdir()) if folder.is_dir() else list(map(Path, expand_pattern(named)))
    found = [
        str(path)
        for path in paths
        if path.is_file()
        and not path.name.startswith(".")
        and not path.stem.endswith("_mask")
        and (not folder.is_dir() or path.suffix.lower() in _SUFFIXES)
    ]
    if not found:
        raise InputError(f"{name}: holds no tiles; give a folder of GeoTIFFs or a pattern, e.g. '{MOSAIC}tiles/*.tif'")
    return found


def versions(name: str) -> dict[str, Any]:
    """Return what identifies the version of a mosaic: a digest of its tiles by name, size and time of change."""
    paths = [Path(path) for path in tiles_of(name)]
    listed = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return {"name": name, "tiles": len(listed), "tiles_sha256": sha256(repr(listed).encode()).hexdigest()}


class MosaicSource(Source):
    """Rasters on one grid, or each put on one, as an input; each cell is from the first raster in which it is valid."""

    classes: ClassTable = ()

    def __init__(
        self,
        name: str,
        bands: Sequence[BandName] | None = None,
        onto: Grid | None = None,
        *,
        allow: Sequence[str] = (),
        most_open: int = OPEN,
    ) -> None:
        """Open the tiles of `name`, put on the grid `onto` if there is one.

        Each thread that reads holds up to `most_open` tiles open. `allow` is as in `RasterSource`.

        Raises:
            InputError: Two tiles differ in channels or, without `onto`, in their grid; the message names both.

        """
        self._path, self._asked, self._onto, self._most_open = name, bands, onto, most_open
        self._allow = allow
        self._local = threading.local()
        self._lock, self._every, self._closed = threading.Lock(), set[RasterSource | ReprojectedSource](), False
        paths = tiles_of(name)
        first = RasterSource(paths[0], bands, allow=allow)
        self.bands, self.band_info = first.bands, first.band_info
        first.close()
        self.info = replace(first.info, nodata=None, path=name)
        found, held = [(paths[0], first.grid)], [first.info.held]
        for path in paths[1:]:
            tile = RasterSource(path, bands, allow=allow)
            tile.close()
            self._check_alike(paths[0], path, tile)
            self.info = replace(self.info, dtype=np.result_type(self.dtype, tile.dtype))
            found.append((path, tile.grid))
            held.append(tile.info.held)
        self.info = replace(self.info, held=sum(sorted(held)[-most_open:]))
        if onto is None:
            self._place(found)
        else:
            self._warp(found, onto)
        self._boxes = np.array([(*tile.box.start, *tile.box.stop) for tile in self.tiles])

    def _check_alike(self, first: str, path: str, tile: RasterSource) -> None:
        """Raise InputError where a tile has other channels than the first one, or other units."""
        if tile.channels != self.channels:
            raise InputError(f"{self._path}: {path} has {tile.channels} channels, but {first} has {self.channels}")
        if tile.bands != self.bands or in_another_order(tile.band_info, self.band_info):
            raise InputError(
                f"{self._path}: {path} has the bands {', '.join(listed(tile.band_info))}, but {first} has "
                f"{', '.join(listed(self.band_info))}; put them in the same order with `gdal_translate -b`"
            )
        if (units := units_of(tile)) != (first_units := units_of(self)):
            raise InputError(
                f"{self._path}: {path} has the scales and offsets {units}, but {first} has {first_units}, so their "
                "numbers mean different things; rescale them first with `gdal_translate -unscale`"
            )

    def _warp(self, found: Sequence[tuple[str, Grid]], onto: Grid) -> None:
        """Lay the tiles on a grid of its own; those that do not meet it are left out."""
        boxes = [(path, footprint(grid, onto)) for path, grid in found]
        self.tiles = [Tile(path, box, (0, 0)) for path, box in boxes if box.size]
        if not self.tiles:
            raise InputError(f"{self._path}: does not overlap the target grid", "unsuitable")
        warped = [ReprojectedSource(self._open(tile.path), onto) for tile in self.tiles]
        for one in warped:
            one.close()
        dtype = np.result_type(*(one.dtype for one in warped))
        self.info = replace(self.info, grid=onto, block=warped[0].block, dtype=dtype)

    def _place(self, found: Sequence[tuple[str, Grid]]) -> None:
        """Lay the tiles on the grid of the first."""
        placed = [
            (path, self._offset(found[0], path, grid) if number else (0, 0), grid)
            for number, (path, grid) in enumerate(found)
        ]
        top, left = (min(offset[axis] for _, offset, _ in placed) for axis in (0, 1))
        self.tiles = [
            Tile(path, Box(start, (start[0] + grid.shape[0], start[1] + grid.shape[1])), start)
            for path, start, grid in ((path, (row - top, column - left), grid) for path, (row, column), grid in placed)
        ]
        bottom, right = (max(tile.box.stop[axis] for tile in self.tiles) for axis in (0, 1))
        self.info = replace(self.info, grid=part_of(placed[0][2], (top, left), (bottom, right)))

    def _offset(self, first: tuple[str, Grid], path: str, tile: Grid) -> tuple[int, int]:
        """Rows and columns of a tile from the first one."""
        name, grid = first
        if tile.crs != grid.crs:
            raise InputError(
                f"{self._path}: {path} and {name} have different CRSs; reproject them to one first with `gdalwarp`, "
                "or give the CRS to put them in with --crs, or a raster with the grid to put them on with --like"
            )
        if any(one.reference.get("gdal", {}).get("transform") is None for one in (grid, tile)):
            raise InputError(f"{self._path}: {path} or {name} has no transform, so their relative position is unknown")
        row, column = solve_index(grid.affine, offset(tile.affine))
        turned = np.linalg.solve(linear(grid.affine), linear(tile.affine)) - np.eye(2)
        nearest = round(row), round(column)
        if np.abs(turned).max() * max(tile.shape) > _APART:
            raise InputError(
                f"{self._path}: {path} has cells of {tile.spacing}, but {name} of {grid.spacing}; give the CRS to put "
                "them in with --crs, or a raster with the grid to put them on with --like"
            )
        if max(abs(row - nearest[0]), abs(column - nearest[1])) > _APART:
            raise InputError(
                f"{self._path}: {path} is {row - nearest[0]:.3f} rows and {column - nearest[1]:.3f} columns off the "
                f"grid of {name}; align both with `gdalwarp -tap`"
            )
        return nearest

    def read(self, box: Box) -> Pixels:
        """Return the pixels of `box`, `(channels, *box.shape)`; zeros, and not valid, where there is no tile."""
        values: NDArray[Any] = np.zeros((self.channels, *box.shape), self.dtype)
        valid = np.zeros(box.shape, np.bool_)
        meeting = (self._boxes[:, :2] < box.stop).all(1) & (self._boxes[:, 2:] > box.start).all(1)
        for index in np.flatnonzero(meeting):
            tile = self.tiles[index]
            part = box.clip(tile.box)
            at = part.within(box.start).slices
            if valid[at].all():
                continue
            pixels = self._opened(tile.path).read(part.within(tile.origin))
            fresh = ~valid[at] if pixels.valid is None else pixels.valid & ~valid[at]
            np.copyto(values[(slice(None), *at)], pixels.values, where=fresh)
            valid[at] |= fresh
        return Pixels(values, None if valid.all() else valid)

    def _open(self, path: str) -> RasterSource:
        return RasterSource(path, self._asked, allow=self._allow)

    def _opened(self, path: str) -> RasterSource | ReprojectedSource:
        """A tile of this thread's own; of many, those used last stay open."""
        if self._closed:
            raise ValueError(f"{self._path}: is closed")
        if not hasattr(self._local, "held"):
            self._local.held = OrderedDict()
        held: OrderedDict[str, RasterSource | ReprojectedSource] = self._local.held
        if path not in held:
            while len(held) >= self._most_open:
                self._forget(held.popitem(last=False)[1])
            tile = self._open(path)
            held[path] = tile if self._onto is None else ReprojectedSource(tile, self._onto)
            with self._lock:
                self._every.add(held[path])
        held.move_to_end(path)
        return held[path]

    def _forget(self, source: RasterSource | ReprojectedSource) -> None:
        source.close()
        with self._lock:
            self._every.discard(source)

    def close(self) -> None:
        """Close the tiles of all threads; further reads raise ValueError."""
        with self._lock:
            self._closed = True
            for source in self._every:
                source.close()
