"""Several rasters as the bands of one scene, on the grid of the first: what catalogs keep as one file per band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.classes import ClassTable
from pipeline.engine.protocols import Pixels, Source
from pipeline.errors import InputError
from pipeline.geometry import Box, Grid
from pipeline.geometry.affine import relative
from pipeline.io.address import parts_of_stack, redact_url
from pipeline.io.band_names import BandName, RasterBand, numbers_of
from pipeline.io.raster.source import RasterSource

_APART = 1e-3
"""Cells by which the rows and columns of two rasters may run apart over the whole scene."""
_DIGITS = 6
"""Decimals of a cell: a center on the edge of two cells is then on the same side for every box."""


class Part(NamedTuple):
    """A raster, which of its bands are read, and the row and column of it that each of the scene's has."""

    source: RasterSource
    places: tuple[int, ...]
    """Positions of its bands among those that are read from the stack."""
    cells: tuple[NDArray[np.intp], NDArray[np.intp]]
    """Its row by row of the scene, and its column by column; outside of it where there is none."""


class StackSource(Source):
    """Rasters of one CRS as an input: their bands one after the other, on the grid of the first.

    The cell of another grid is the one that holds the center of the scene's own: nothing is mixed, so that nodata stays
    nodata. A cell is valid where it is valid in every raster that is read.
    """

    classes: ClassTable = ()

    def __init__(self, name: str, bands: Sequence[BandName] | None = None, allow: Sequence[str] = ()) -> None:
        """Open the rasters of `name`; `allow` is as in `RasterSource`.

        Raises:
            InputError: A raster does not fit the grid of the first.

        """
        self._path = redact_url(name)
        parts = parts_of_stack(name)
        opened = [RasterSource(address, allow=allow) for _, address in parts]
        try:
            each = [_named_bands(source, called) for source, (called, _) in zip(opened, parts, strict=True)]
            self.band_info = tuple(chain(*each))
            every = range(1, len(self.band_info) + 1)
            self.bands = tuple(every if bands is None else numbers_of(self._path, self.band_info, bands))
            ends = list(accumulate(map(len, each), initial=0))
            self._parts = [
                Part(RasterSource(source.address, own, allow=allow), places, self._cells(opened[0], source))
                for source, start in zip(opened, ends, strict=False)
                if (own := [source.bands[n - start - 1] for n in self.bands if 0 < n - start <= source.channels])
                and (places := tuple(at for at, n in enumerate(self.bands) if 0 < n - start <= source.channels))
            ]
        finally:
            for source in opened:
                source.close()
        dtype: np.dtype[Any] = np.result_type(*(part.source.dtype for part in self._parts))
        self.info = replace(opened[0].info, channels=len(self.bands), dtype=dtype, nodata=None, path=self._path)
        self.info = replace(self.info, held=sum(part.source.info.held for part in self._parts))

    def _cells(self, first: RasterSource, other: RasterSource) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The row of another raster for each row of the first, and the column for each column."""
        if other.grid.crs != first.grid.crs:
            raise InputError(
                f"{self._path}: {other.info.path} and {first.info.path} have different CRSs; reproject them "
                "to one first with `gdalwarp`"
            )
        placed = _has_transform(first.grid), _has_transform(other.grid)
        if any(placed) != all(placed) or not (all(placed) or first.grid.shape == other.grid.shape):
            raise InputError(
                f"{self._path}: {other.info.path} has the shape {other.grid.shape} and {first.info.path} "
                f"{first.grid.shape}, and one has no transform, so their relative position is unknown"
            )
        to_other = relative(first.grid.affine, other.grid.affine)
        if abs(to_other[0, 1]) * first.grid.shape[1] > _APART or abs(to_other[1, 0]) * first.grid.shape[0] > _APART:
            raise InputError(
                f"{self._path}: {other.info.path} is rotated relative to {first.info.path}; put both on one grid "
                "with `gdalwarp`"
            )
        rows, columns = (
            np.floor(np.round(to_other[axis, axis] * np.arange(length) + to_other[axis, 2] + 0.5, _DIGITS))
            for axis, length in enumerate(first.grid.shape)
        )
        return rows.astype(np.intp), columns.astype(np.intp)

    def read(self, box: Box) -> Pixels:
        """Return the pixels of `box`, `(channels, *box.shape)`; zeros, not valid, beyond a raster that is read."""
        values: NDArray[Any] = np.zeros((self.channels, *box.shape), self.dtype)
        valid = np.ones(box.shape, np.bool_)
        for part in self._parts:
            picked = [part.cells[axis][box.slices[axis]] for axis in (0, 1)]
            inside = [(index >= 0) & (index < size) for index, size in zip(picked, part.source.grid.shape, strict=True)]
            valid &= np.logical_and.outer(*inside)
            rows, columns = (index[within] for index, within in zip(picked, inside, strict=True))
            if not (rows.size and columns.size):
                continue
            start, stop = (int(rows.min()), int(columns.min())), (int(rows.max()) + 1, int(columns.max()) + 1)
            found = part.source.read(Box(start, stop))
            cells = np.ix_(rows - start[0], columns - start[1])
            into = np.ix_(*inside)
            for place, plane in zip(part.places, found.values, strict=True):
                values[place][into] = plane[cells]
            if found.valid is not None:
                valid[into] &= found.valid[cells]
        return Pixels(values, None if valid.all() else valid)

    def close(self) -> None:
        """Close all rasters; further reads raise ValueError."""
        for part in self._parts:
            part.source.close()


def _named_bands(source: RasterSource, name: str) -> tuple[RasterBand, ...]:
    """The bands of a raster; a single one has the name that the stack gives it, first of all."""
    about = tuple(source.band_info[number - 1] for number in source.bands)
    if len(about) > 1:
        return about
    return (replace(about[0], names=(name, *about[0].names)),)


def _has_transform(grid: Grid) -> bool:
    return grid.reference.get("gdal", {}).get("transform") is not None
