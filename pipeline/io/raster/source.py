"""Rasters that GDAL opens, as inputs."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from math import prod
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Interleaving, MaskFlags
from rasterio.io import DatasetReader
from rasterio.windows import Window

from pipeline.classes import ClassTable, LabelClass
from pipeline.engine import Pixels, Source, SourceInfo
from pipeline.errors import UNREACHABLE, InputError
from pipeline.geometry import Box, Grid
from pipeline.io.address import redact_url
from pipeline.io.band_names import BandName, RasterBand, numbers_of
from pipeline.io.http import check_redirect
from pipeline.io.places import places_of
from pipeline.io.raster.bands import bands_of
from pipeline.io.raster.drivers import open_dataset
from pipeline.io.raster.gdal import reading
from pipeline.io.raster.georeference import grid_of
from pipeline.io.raster.held import bytes_held
from pipeline.io.raster.references import check_dataset, check_file
from pipeline.sources.validity import valid_mask

Argument = TypeVar("Argument")
Result = TypeVar("Result")
T = TypeVar("T")
MAX_BANDS = 1 << 14
"""Most bands of a raster: those of forty years of days."""
_LARGEST_BLOCK = 1 << 30
_WIDE = frozenset(["int64", "uint64"])
_DELAYS = (0.5, 2.0)
"""Seconds before a part of an address is read again."""

_NOWHERE = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
"""Affine of an overview: rasterio does not place one whose file has no transform."""


class RasterSource(Source):
    """A raster that GDAL opens, as an input; reads from any thread, with one handle per thread."""

    def __init__(
        self,
        path: str | Path,
        bands: Sequence[BandName] | None = None,
        level: int | None = None,
        allow: Sequence[str] = (),
    ) -> None:
        """Open `path`, a file or a GDAL address; `bands` are numbers from 1 or names, all but alpha by default.

        `level` opens one of its overviews instead, from 0, the finest, without a georeference. `allow` are schemes and
        folders to which a VRT may refer beside its own, as in `pipeline.io.places`.

        Raises:
            InputError: It is not an image, lacks a band, is not of real numbers, has no usable transform, has blocks of
                more than 1 GiB, or refers to what is not allowed.

        """
        self.address, self._path = str(path), redact_url(path)
        self._allow, self._places = tuple(allow), places_of(self.address, allow)
        self._options = {} if level is None else {"overview_level": level}
        self._local = threading.local()
        self._opened: WeakSet[DatasetReader] = WeakSet()
        self._lock = threading.Lock()
        self._closed = False
        self._retry(self._look, bands)

    def _look(self, bands: Sequence[BandName] | None) -> None:
        check_file(self.address, self._places)
        if (url := self.address.removeprefix("/vsicurl/")).startswith(("http://", "https://")):
            check_redirect(url)
        with self._reading():
            dataset = self._handle()
            _check_count(self._path, dataset.count)
            check_dataset(dataset, self.address, self._places)
            self._alpha = _alpha(dataset)
            self.band_info: tuple[RasterBand, ...] = bands_of(dataset)
            """The metadata of each band of the file."""
            self.bands = self._choose(dataset, bands)
            """Numbers, from 1, of the bands that are read."""
            self._masks = _masks(dataset, self.bands)
            self._shown = [] if self._masks else self._alpha
            self._nodata = _picked(dataset.nodatavals, self.bands)
            dtype = self._common_dtype(dataset)
            self.info = SourceInfo(
                grid=grid_of(dataset) if not self._options else Grid(dataset.shape, _NOWHERE, ("y", "x")),
                channels=len(self.bands),
                dtype=dtype,
                block=self._checked_block(dataset, dtype),
                nodata=self._nodata[0],
                held=bytes_held(dataset),
                path=self._path,
            )
            self._one_type = len({*_picked(dataset.dtypes, [*self.bands, *self._shown])}) == 1
            self.classes = _classes(dataset)
            self.tags: dict[str, str] = dataset.tags()
            """Metadata of the file, as text by name."""
            self._levels = dataset.overviews(self.bands[0])
            self.factors: tuple[int, ...] = tuple(sorted(self._levels))
            """By how much the overviews of the file are smaller, the finest first."""

    def read(self, box: Box) -> Pixels:
        """Return the pixels of `box`, `(channels, *box.shape)`.

        At an address, a read that was cut short is repeated with a new handle.

        Raises:
            InputError: The file is damaged.

        """
        return self._retry(self._pixels, box)

    def _retry(self, call: Callable[[Argument], Result], argument: Argument) -> Result:
        for delay in _DELAYS:
            try:
                return call(argument)
            except InputError as error:
                if error.code != UNREACHABLE:
                    raise
                self._drop()
                time.sleep(delay)
        return call(argument)

    def _drop(self) -> None:
        """Forget the handle of this thread."""
        dataset: DatasetReader | None = getattr(self._local, "dataset", None)
        if dataset is not None:
            dataset.close()
        self._local.dataset = None

    def read_reduced(self, box: Box, shape: tuple[int, int]) -> Pixels:
        """Return the pixels of `box` as `(channels, *shape)`: the nearest ones, from the overview that suits best.

        Raises:
            InputError: The file is damaged.

        """
        return self._retry(lambda cells: self._pixels(cells, shape), box)

    def _pixels(self, box: Box, shape: tuple[int, int] | None = None) -> Pixels:
        window = Window(box.start[1], box.start[0], box.shape[1], box.shape[0])
        with self._reading(f", rows {box.start[0]} to {box.stop[0]}"):
            dataset = self._handle()
            values = self._read(dataset, [*self.bands, *self._shown], window, shape)
            whole = None if shape is None else (len(self._masks), *shape)
            seen = dataset.read_masks(self._masks, window=window, out_shape=whole).any(axis=0) if self._masks else None
        if self._shown:
            values, seen = values[:-1], values[-1] > 0
        return Pixels(values, valid_mask(values, self._nodata, seen))

    def overview(self, cells: int, *, coarsest: bool = False) -> RasterSource | None:
        """Return the finest overview, or the coarsest, with at least `cells` cells.

        None for a file with a mask, since its overviews need not have one.
        """
        rows, columns = self.grid.shape
        sizes = [] if self._masks else self.factors
        large = [factor for factor in sizes if (rows // factor) * (columns // factor) >= cells]
        if not large:
            return None
        level = self._levels.index(max(large) if coarsest else min(large))
        return RasterSource(self.address, self.bands, level, self._allow)

    def close(self) -> None:
        """Close the handles of all threads; further reads raise ValueError."""
        with self._lock:
            self._closed = True
            for dataset in self._opened:
                dataset.close()

    def _reading(self, part: str = "") -> AbstractContextManager[None]:
        return reading(self.address, part, network=self._places.network)

    def _read(
        self, dataset: DatasetReader, bands: list[int], window: Window, shape: tuple[int, int] | None
    ) -> NDArray[Any]:
        how: dict[str, Any] = {"window": window, "out_dtype": self.dtype}
        if self._one_type:
            whole = None if shape is None else (len(bands), *shape)
            together: NDArray[Any] = dataset.read(bands, out_shape=whole, **how)
            return together
        return np.stack([dataset.read(band, out_shape=shape, **how) for band in bands])

    def _handle(self) -> DatasetReader:
        """The dataset of this thread, which none may share; it is closed when the thread ends."""
        if self._closed:
            raise ValueError(f"{self._path}: is closed")
        dataset: DatasetReader | None = getattr(self._local, "dataset", None)
        if dataset is None:
            dataset = self._local.dataset = open_dataset(self.address, **self._options)
            with self._lock:
                self._opened.add(dataset)
        return dataset

    def _choose(self, dataset: DatasetReader, bands: Sequence[BandName] | None) -> tuple[int, ...]:
        if not dataset.count:
            listed = ", ".join(dataset.subdatasets[:8]) or "none"
            raise InputError(f"{self._path}: has no image of its own; give one of its datasets as input: {listed}")
        pictures = [band for band in dataset.indexes if [band] != self._alpha]
        return tuple(pictures if bands is None else numbers_of(self._path, self.band_info, bands))

    def _common_dtype(self, dataset: DatasetReader) -> np.dtype[Any]:
        names = _picked(dataset.dtypes, self.bands)
        if any(name.startswith("complex") for name in names):
            raise InputError(f"{self._path}: pixels are {names[0]}; only integers and real numbers can be segmented")
        return np.dtype(np.result_type(*dict.fromkeys(names)))

    def _checked_block(self, dataset: DatasetReader, dtype: np.dtype[Any]) -> tuple[int, ...]:
        block = dataset.block_shapes[self.bands[0] - 1]
        planes = dataset.count if dataset.interleaving == Interleaving.pixel else 1
        size = prod(block) * planes * dtype.itemsize
        if size > _LARGEST_BLOCK:
            raise InputError(
                f"{self._path}: is stored in blocks of {block}, {size / 2**30:.1f} GiB each, and can only be read by "
                f"whole blocks; rewrite it with `gdal_translate -co TILED=YES`"
            )
        return tuple(block)


def _check_count(path: str, count: int) -> None:
    if count > MAX_BANDS:
        raise InputError(
            f"{path}: has {count:,} bands; the most is {MAX_BANDS:,}; check the header, or take some "
            "of them with `gdal_translate -b`",
            "unsuitable",
        )


def _picked(each: Sequence[T], bands: Sequence[int]) -> list[T]:
    """Return the values of some bands; GDAL's tuple of all is asked for once."""
    return [each[band - 1] for band in bands]


def _alpha(dataset: DatasetReader) -> list[int]:
    """The band that holds alpha, if there is one beside others."""
    bands = [i for i, kind in zip(dataset.indexes, dataset.colorinterp, strict=True) if kind == ColorInterp.alpha]
    return bands[:1] if dataset.count > 1 else []


def _masks(dataset: DatasetReader, bands: Sequence[int]) -> list[int]:
    """Return the bands whose masks show valid cells; none where alpha or nodata values do, or where all are valid.

    Nodata values of 64 bits are left to GDAL's masks: rasterio returns them as a float, which cannot hold them.
    """
    flags = list(map(set, _picked(dataset.mask_flag_enums, bands)))
    if {*_picked(dataset.dtypes, bands)} & _WIDE and all(MaskFlags.nodata in kinds for kinds in flags):
        return list(bands)
    if any({MaskFlags.all_valid, MaskFlags.nodata, MaskFlags.alpha} & kinds for kinds in flags):
        return []
    return list(bands[:1] if MaskFlags.per_dataset in flags[0] else bands)


def _classes(dataset: DatasetReader) -> ClassTable:
    """Class names from the tags of band 1, with the colors of its table."""
    names = {int(key[6:]): name for key, name in dataset.tags(1).items() if re.fullmatch(r"CLASS_\d+", key)}
    if not names:
        return ()
    colors = dataset.colormap(1) if dataset.colorinterp[0] == ColorInterp.palette else {}
    return tuple(LabelClass(value, names[value], tuple(colors.get(value, (0, 0, 0)))[:3]) for value in sorted(names))
