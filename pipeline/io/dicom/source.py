"""A DICOM series as an input: headers when it is opened, pixels slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels import pixel_array

from pipeline.engine.protocols import Pixels, Source, SourceInfo
from pipeline.errors import InputError, RemoteError
from pipeline.geometry import Box
from pipeline.io.dicom.encoding import as_standard
from pipeline.io.dicom.files import BROKEN, Files
from pipeline.io.dicom.geometry import stack
from pipeline.io.dicom.headers import Slice, read_slices
from pipeline.io.remote_files import File
from pipeline.sources.validity import valid_mask

_PIECE = 1 << 20
_WHOLE = (np.dtype(np.int16), np.dtype(np.uint16), np.dtype(np.int32))


class DicomSource(Source):
    """A `Source` over a CT or MR series, axes (z, y, x), slices in ascending order along their normal.

    Values are rescaled by each slice's own slope and intercept: Hounsfield units for CT. Where all of these are whole,
    values are integers of the smallest of int16, uint16 and int32 that holds whatever may be stored; else float32.
    Memory is the box that is read, and a slice; any thread may read.
    """

    def __init__(self, path: File, series: str | None = None, slices: Sequence[Slice] | None = None) -> None:
        """Open the folder, zip or file at `path`; `series` is the UID of one of several.

        `slices` are those of its files where `slices_of` has read them already.

        Raises:
            InputError: The slices are not one even stack (see `stack`), or those of several series.

        """
        self._files = Files(path)
        try:
            found = read_slices(self._files) if slices is None else slices
            chosen = _without_copies(self._files, _chosen(path, found, series))
            try:
                self.slices, grid = stack(chosen)
            except InputError as error:
                raise error.at(path) from None
        except BaseException:
            self._files.close()
            raise
        self._path = path
        self.modality = self.slices[0].modality
        dtype, block = _type_of(self.slices), (1, *grid.shape[1:])
        self.info = SourceInfo(grid, channels=1, dtype=dtype, block=block, path=str(path))

    def read(self, box: Box) -> Pixels:
        """Return the pixels of `box`, `(1, *box.shape)`.

        Raises:
            InputError: A slice is damaged.

        """
        values = np.empty((1, *box.shape), self.dtype)
        for plane, one in zip(values[0], self.slices[box.start[0] : box.stop[0]], strict=True):
            plane[...] = self._scaled(one, self._stored(one)[box.slices[1:]])
        return Pixels(values, valid_mask(values))

    def close(self) -> None:
        """Release the zip."""
        self._files.close()

    def _stored(self, one: Slice) -> NDArray[Any]:
        try:
            with self._files.open(one.file) as file:
                # From Python 3.12 on, a zip checks only what is read to its end without a seek.
                whole = BytesIO(file.read()) if self._files.packed else file
                stored: NDArray[Any] = pixel_array(as_standard(whole), index=one.frame)
        except RemoteError:
            raise
        except Exception:
            raise InputError(
                f"{self._files.place(one.file)}: its pixels are damaged or cut short; fetch it again from where it came"
            ) from None
        if stored.shape != one.shape:
            raise InputError(f"{self._files.place(one.file)}: declares {one.shape} pixels, but has {stored.shape}")
        return stored

    def _scaled(self, one: Slice, stored: NDArray[Any]) -> NDArray[Any]:
        low, high = one.stored
        if stored.size and not (low <= int(stored.min()) and int(stored.max()) <= high):
            raise InputError(f"{self._files.place(one.file)}: has values outside its own range of {low} to {high}")
        slope, intercept = one.scale
        if self.dtype.kind == "f":
            scaled: NDArray[Any] = stored * np.float64(slope) + intercept
            return scaled
        return stored if (slope, intercept) == (1, 0) else stored.astype(np.int64) * int(slope) + int(intercept)


def slices_of(path: File) -> tuple[Slice, ...]:
    """Read the slices of all series in a folder or zip."""
    files = Files(path)
    try:
        return tuple(read_slices(files))
    finally:
        files.close()


def series_version(path: File, series: str | None, slices: Sequence[Slice]) -> dict[str, str]:
    """Return what identifies the version of a series: a digest of its SOP instance UIDs, which change with pixels."""
    instances = sorted({one.instance for one in _chosen(path, slices, series)})
    return {"instances_sha256": sha256("\n".join(instances).encode()).hexdigest()}


def _chosen(path: File, slices: Sequence[Slice], series: str | None) -> list[Slice]:
    """The slices of the series that is asked for, or of the only one there is."""
    kinds = {one.series: one for one in slices}
    if not slices:
        raise InputError(f"{path}: holds no CT or MR image in DICOM; give the folder of a CT or MR series")
    if series in kinds or (len(kinds) == 1 and series is None):
        return [one for one in slices if series in (None, one.series)]
    listed = "; ".join(f"{uid} ({_summary([one for one in slices if one.series == uid])})" for uid in kinds)
    if series is None:
        raise InputError(f"{path}: holds {len(kinds)} series: {listed}; choose one with --series", "several-series")
    raise InputError(f"{path}: holds no series {series}; it holds {listed}", "several-series")


def _without_copies(files: Files, slices: Sequence[Slice]) -> list[Slice]:
    """Leave out what is in a copy of a file, with the same bytes, that comes later by name."""
    same: dict[tuple[str, int], list[Slice]] = {}
    for one in slices:
        same.setdefault((one.instance, one.frame), []).append(one)
    named = {one.file for several in same.values() if len(several) > 1 for one in several}
    first: dict[str, str] = {}
    for name in sorted(named):
        first.setdefault(_sha256(files, name), name)
    copies = named - set(first.values())
    return [one for one in slices if one.file not in copies]


def _sha256(files: Files, name: str) -> str:
    try:
        with files.open(name) as file:
            whole = sha256()
            while piece := file.read(_PIECE):
                whole.update(piece)
            return whole.hexdigest()
    except BROKEN:
        raise InputError(f"{files.place(name)}: cannot be read; fetch it again from where it came") from None


def _summary(slices: Sequence[Slice]) -> str:
    first = slices[0]
    return f"{first.modality}, {len(slices)} slices of {first.shape[0]} x {first.shape[1]}"


def _type_of(slices: Sequence[Slice]) -> np.dtype[Any]:
    """The smallest type that holds all values that the slices can store."""
    if all(float(number).is_integer() for one in slices for number in one.scale):
        ends = [number * one.scale[0] + one.scale[1] for one in slices for number in one.stored]
        for whole in _WHOLE:
            if np.iinfo(whole).min <= min(ends) and max(ends) <= np.iinfo(whole).max:
                return whole
    return np.dtype(np.float32)
