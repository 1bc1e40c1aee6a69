"""A scene on another grid: each cell is interpolated at its position in the scene, independently of the others.

GDAL's warper takes its factor of reduction, and PROJ its operation, from the piece at hand, so that what it makes of a
cell depends on what is read along with it, and it fills a hole's edges from one side. Here a cell is a function of its
place alone: `read(box) == read(whole)[box]`. Nearly everywhere it is what GDAL makes of it.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.protocols import Pixels, Source
from pipeline.errors import InputError
from pipeline.geometry import Box, Grid
from pipeline.io.band_names import HasBands, RasterBand
from pipeline.io.raster.coordinates import Places, footprint, steps_of, transform_indices
from pipeline.io.raster.georeference import transform_of

Floats = NDArray[np.float64]
_TILE = 256
"""Cells of a side of what is looked for at a time: PROJ chooses its operation for all points of one call."""
AT_ONCE = 1 << 24
"""Values that are read at once for a part of a tile."""
_SNAP = 1e-6
"""Cells by which a position may be off a cell's center and count as there."""


class ReprojectedSource(Source):
    """A scene on the grid `target`: the mean of its four nearest cells by nearness, valid where all needed are.

    Where cells of `target` are larger than the scene's by a whole factor or more, the scene's are averaged first in
    blocks of that factor, counted from its corner. Whole numbers are rounded to their type (those of 64 bits become
    float64).
    """

    band_info: tuple[RasterBand, ...]
    bands: tuple[int, ...]

    def __init__(self, source: Source, target: Grid, *, at_once: int = AT_ONCE) -> None:
        """Put `source` on the grid `target`, reading up to `at_once` of its values at a time.

        Raises:
            InputError: The source cannot be put on this grid, or does not overlap it.

        """
        if fault := _fault(source.grid, target):
            raise InputError(f"{source.info.path or 'the scene'}: {fault}", "unsuitable")
        self._source, self._at_once = source, at_once
        if isinstance(source, HasBands):
            self.band_info, self.bands = source.band_info, source.bands
        wide = source.dtype.kind in "iu" and source.dtype.itemsize == 8
        dtype = np.dtype(np.float64) if wide else source.dtype
        self.info = replace(source.info, grid=target, dtype=dtype, block=(_TILE, _TILE), nodata=None)
        self._factors = _factors(source.grid, target)

    def read(self, box: Box) -> Pixels:
        """Return the pixels of `box`, `(channels, *box.shape)`.

        Zeros, and not valid, where a cell that is needed is outside the scene or not valid.
        """
        values: NDArray[Any] = np.zeros((self.channels, *box.shape), self.dtype)
        valid = np.zeros(box.shape, np.bool_)
        first = [start // _TILE for start in box.start]
        last = [-(-stop // _TILE) for stop in box.stop]
        for row, column in product(*(range(a, b) for a, b in zip(first, last, strict=True))):
            tile = Box((row * _TILE, column * _TILE), ((row + 1) * _TILE, (column + 1) * _TILE))
            tile = tile.clip(Box.whole(self.grid.shape))
            part = tile.clip(box)
            places = transform_indices(np.mgrid[tile.slices].astype(np.float64), self.grid, self._source.grid)
            at, to = part.within(tile.start).slices, part.within(box.start).slices
            self._fill(places[(slice(None), *at)], values[(slice(None), *to)], valid[to])
        return Pixels(values, None if valid.all() else valid)

    def close(self) -> None:
        """Release the file."""
        self._source.close()

    def _fill(self, places: Places, values: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Write the values at `places` of the scene, part by part where they are far apart."""
        ends = np.array(self._source.grid.shape, np.float64)[:, None, None] - 0.5
        inside = (np.isfinite(places) & (places >= -0.5) & (places <= ends)).all(0)
        if not inside.any():
            return
        shape = [-(-size // factor) for size, factor in zip(self._source.grid.shape, self._factors, strict=True)]
        factors, last = (np.array(one, np.float64)[:, None] for one in (self._factors, [size - 1 for size in shape]))
        at = ((places[:, inside] - (factors - 1) / 2) / factors).clip(0, last)
        whole = np.rint(at)
        at = np.where(np.abs(at - whole) < _SNAP, whole, at)
        start, stop = np.floor(at.min(1)).astype(int), np.ceil(at.max(1)).astype(int) + 1
        needed = Box(tuple((start * self._factors).tolist()), tuple((stop * self._factors).tolist()))
        needed = needed.clip(Box.whole(self._source.grid.shape))
        if needed.size * self.channels > self._at_once and inside.size > 1:
            self._fill_halves(places, values, valid)
            return
        planes, seen = _reduced(self._source.read(needed), self._factors)
        found, there = _between(planes, seen, at - start[:, None])
        if self.dtype.kind in "iu":
            found = np.rint(found)
        values[:, inside] = np.where(there, found, 0).astype(self.dtype)
        valid[inside] = there

    def _fill_halves(self, places: Places, values: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        axis = int(np.argmax(valid.shape))
        half = valid.shape[axis] // 2
        for cut in (slice(0, half), slice(half, None)):
            at = (cut,) if axis == 0 else (slice(None), cut)
            self._fill(places[(slice(None), *at)], values[(slice(None), *at)], valid[at])


def _fault(grid: Grid, target: Grid) -> str | None:
    """Why a scene cannot be put on a grid, in words; None: it can."""
    if not grid.is_scene:
        return "is a volume, and only scenes can be put on another grid"
    if transform_of(grid) is None:
        return "has no transform, so it cannot be put on another grid; make one first with `gdalwarp`"
    if (grid.crs is None) != (target.crs is None):
        return (
            f"has {_crs_name(grid.crs)}, but the target grid has {_crs_name(target.crs)}, so their relative position "
            "is unknown; set the missing CRS with `gdal_edit.py -a_srs`"
        )
    return None if footprint(grid, target).size else "does not overlap the target grid"


def _between(planes: Floats, seen: NDArray[np.bool_], at: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Values of `planes` at places `(2, n)` by their four nearest cells, and whether all that count are valid."""
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, np.array(seen.shape)[:, None] - 1)
    beyond = at - low
    found = np.zeros((len(planes), at.shape[1]))
    there = np.ones(at.shape[1], np.bool_)
    for down, right in product((False, True), repeat=2):
        weight = (beyond[0] if down else 1 - beyond[0]) * (beyond[1] if right else 1 - beyond[1])
        row, column = (high if down else low)[0], (high if right else low)[1]
        found += weight * planes[:, row, column]
        there &= seen[row, column] | (weight == 0)
    return found, there


def _reduced(pixels: Pixels, factors: tuple[int, int]) -> tuple[Floats, NDArray[np.bool_]]:
    """Return means of blocks of `factors` cells, incomplete ones at the end too, and whether all of each are valid.

    What is not valid is 0, and adds nothing. Cells are added one by one, so that sums do not depend on the box.
    """
    seen = np.ones(pixels.values.shape[1:], np.bool_) if pixels.valid is None else pixels.valid
    sums, missing = np.where(seen, pixels.values, 0).astype(np.float64), (~seen).astype(np.float64)
    counts = np.ones(seen.shape)
    for axis, factor in enumerate(factors):
        sums, missing, counts = (_added(array, axis - 2, factor) for array in (sums, missing, counts))
    return sums / counts, missing == 0


def _added(array: Floats, axis: int, factor: int) -> Floats:
    """Sums of each `factor` cells along an axis, counted from the end."""
    if factor == 1:
        return array
    room = [(0, 0)] * array.ndim
    room[axis] = (0, -array.shape[axis] % factor)
    array = np.moveaxis(np.pad(array, room), axis, 0)
    total: Floats = array[::factor].copy()
    for step in range(1, factor):
        total += array[step::factor]
    return np.moveaxis(total, 0, axis)


def _factors(grid: Grid, target: Grid) -> tuple[int, int]:
    """Cells of `grid`, in rows and columns, that one of `target` is long: whole, at least 1, the same everywhere."""
    steps = steps_of(grid, target)
    if not len(steps):
        return 1, 1
    lengths = np.median(np.abs(np.linalg.inv(steps)).max(2), axis=0)
    rows, columns = (max(1, int(length + _SNAP)) for length in lengths)
    return rows, columns


def _crs_name(crs: str | None) -> str:
    return "no CRS" if crs is None else "the CRS " + (crs.split('"')[1] if '"' in crs else crs)
