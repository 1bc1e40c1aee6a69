"""Anything that GDAL opens, as an input."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from pipeline.classes import ClassTable, LabelClass
from pipeline.engine import Pixels
from pipeline.errors import InputError
from pipeline.geometry import Box
from pipeline.io.raster.georeference import CACHE_MEGABYTES, grid_of

warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

_LOCAL = {"GDAL_CACHEMAX": CACHE_MEGABYTES, "GDAL_NUM_THREADS": "ALL_CPUS"}
_REMOTE = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_HTTP_MAX_RETRY": 5, "GDAL_HTTP_RETRY_DELAY": 0.5}


class RasterSource:
    """A raster that GDAL opens, as an input; reads from any thread, with one handle per thread."""

    def __init__(self, path: str | Path, bands: Sequence[int] | None = None) -> None:
        """Open `path`, a file or a GDAL address; `bands` are counted from 1, all but alpha by default."""
        self.path = str(path)
        self._handles = threading.local()
        self._opened: list[DatasetReader] = []
        self._lock = threading.Lock()
        with _input_errors(self.path), _settings(self.path):
            dataset = self._handle()
            self.grid = grid_of(dataset)
            self._alpha = _alpha(dataset)
            self._bands = self._choose(dataset, bands)
            self._flags = set(dataset.mask_flag_enums[self._bands[0] - 1])
            self._nodata = [dataset.nodatavals[band - 1] for band in self._bands]
            self.channels = len(self._bands)
            self.dtype = np.dtype(np.result_type(*(_dtype(dataset.dtypes[band - 1]) for band in self._bands)))
            self.block = tuple(dataset.block_shapes[self._bands[0] - 1])
            self.names = tuple(dataset.descriptions[band - 1] or f"band {band}" for band in self._bands)
            self.nodata: float | None = dataset.nodatavals[self._bands[0] - 1]
            self.classes = _classes(dataset)
            self.tags: dict[str, str] = dataset.tags()
            """Metadata of the file, as text by name."""
        if self.dtype.kind not in "buif":
            self.close()
            raise InputError(f"{self.path}: pixels are {self.dtype}; only integers and real numbers can be segmented")

    def read(self, box: Box) -> Pixels:
        """Pixels of `box`; values `(channels, rows, columns)`."""
        with _input_errors(f"{self.path}, rows {box.start[0]} to {box.stop[0]}"), _settings(self.path):
            dataset = self._handle()
            window = Window(box.start[1], box.start[0], box.shape[1], box.shape[0])
            masked = MaskFlags.per_dataset in self._flags
            if self._alpha is None:
                values = dataset.read(self._bands, window=window, out_dtype=self.dtype)
                shown = dataset.read_masks(self._bands[0], window=window) if masked else None
            else:
                planes = dataset.read([*self._bands, self._alpha], window=window)
                values, shown = planes[:-1].astype(self.dtype, copy=False), planes[-1]
        return Pixels(values, _valid(values, shown, self._nodata))

    def close(self) -> None:
        """Close the handles of all threads."""
        with self._lock:
            for dataset in self._opened:
                dataset.close()
            self._opened.clear()
            self._handles = threading.local()

    def _handle(self) -> DatasetReader:
        dataset: DatasetReader | None = getattr(self._handles, "dataset", None)
        if dataset is None:
            dataset = self._handles.dataset = rasterio.open(self.path, sharing=False)
            with self._lock:
                self._opened.append(dataset)
        return dataset

    def _choose(self, dataset: DatasetReader, bands: Sequence[int] | None) -> list[int]:
        chosen = [band for band in dataset.indexes if band != self._alpha] if bands is None else list(bands)
        missing = [band for band in chosen if band not in dataset.indexes]
        if missing or not chosen:
            self.close()
            raise InputError(f"{self.path}: there is no band {missing}; it has the bands {list(dataset.indexes)}")
        return chosen


def _alpha(dataset: DatasetReader) -> int | None:
    bands = [i for i, kind in zip(dataset.indexes, dataset.colorinterp, strict=True) if kind == ColorInterp.alpha]
    return bands[0] if bands and dataset.count > 1 else None


def _classes(dataset: DatasetReader) -> ClassTable:
    """Class names from the tags of band 1, with the colours of its table."""
    names = {int(key[6:]): name for key, name in dataset.tags(1).items() if re.fullmatch(r"CLASS_\d+", key)}
    if not names:
        return ()
    colours = dataset.colormap(1) if dataset.colorinterp[0] == ColorInterp.palette else {}
    return tuple(LabelClass(value, names[value], tuple(colours.get(value, (0, 0, 0)))[:3]) for value in sorted(names))


def _dtype(name: str) -> np.dtype[Any]:
    return np.dtype(np.int8 if name == "int8" else name)


def _valid(
    values: NDArray[Any], shown: NDArray[Any] | None, nodata: Sequence[float | None]
) -> NDArray[np.bool_] | None:
    """Cells that the mask shows, that hold data in some band, and that are finite in all of them; None: all."""
    parts = [] if shown is None else [shown > 0]
    if shown is None and all(value is not None for value in nodata):
        parts.append(
            np.logical_or.reduce([_differs(plane, value) for plane, value in zip(values, nodata, strict=True)])
        )
    if values.dtype.kind == "f":
        parts.append(np.isfinite(values).all(axis=0))
    valid = np.logical_and.reduce(parts) if parts else None
    return None if valid is None or valid.all() else valid


def _differs(plane: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    missing: NDArray[np.bool_] = np.isnan(plane) if nodata != nodata else plane == nodata
    return ~missing


@contextmanager
def _settings(path: str) -> Iterator[None]:
    remote = "://" in path or path.startswith("/vsi")
    with rasterio.Env(**(_LOCAL | _REMOTE if remote else _LOCAL)):
        yield


@contextmanager
def _input_errors(where: str) -> Iterator[None]:
    try:
        yield
    except (RasterioError, CRSError) as error:
        reason = error.__cause__ or error
        raise InputError(f"{where}: GDAL cannot read it ({reason}); try `gdalinfo -checksum` on the file") from error
