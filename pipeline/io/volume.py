"""The door for NIfTI volumes: one forward pass in, one out, the header's geometry kept. The only room of nibabel.

The NIfTI array (i, j, k) is met transposed, as (z, y, x) = (k, j, i): the order of its bytes. Nothing is resampled.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from io import BufferedIOBase
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from numpy.typing import DTypeLike, NDArray

from pipeline.errors import InputError, OutputError
from pipeline.geometry import Grid
from pipeline.io.nifti_stream import UNREADABLE, ByteStream, NiftiSource, Voxels
from pipeline.io.safely import replacing

__all__ = ["NiftiSource", "open_volume", "write_nifti"]

Header = Any
"""A nibabel header of either version (nibabel leaves its methods untyped)."""

_KINDS: tuple[Any, ...] = (Nifti1Header, Nifti2Header)
_GEOMETRY = (
    *("dim_info", "dim", "pixdim", "slice_start", "slice_end", "slice_code", "slice_duration", "toffset"),
    *("xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)
"""Header fields that say where the voxels lie, and nothing of what they mean or whose they are."""
_MILLIMETRES = {1: 1000.0, 3: 0.001}
"""By NIfTI's code of the unit: metre, micron; everything else is read as millimetre."""
_ALIGNED = 2
_LABEL = 1002
_WRITTEN = (np.dtype("u1"), np.dtype("<u2"), np.dtype("<i2"))
_LARGEST = 1e30
_FLATTEST = 1e-6


def open_volume(path: Path) -> NiftiSource:
    """The NIfTI volume at `path`: version 1 or 2, either byte order, plain or gzip whatever its name says.

    Only the header is read. Raises InputError, with the path, the fault and the way out, for a file that is not such a
    volume: more than one time point, complex, RGB, shorter than its header claims, without a usable affine.
    """
    try:
        stream = ByteStream(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror}); check the path and the rights") from error
    try:
        header = _read_header(stream)
        grid, voxels = _grid(header), _voxels(header)
        _check_length(voxels, grid.shape, stream)
        return NiftiSource(path, stream, grid, voxels)
    except InputError as error:
        stream.close()
        raise InputError(f"{path}: {error}") from error.__cause__
    except BaseException:
        stream.close()
        raise


def write_nifti(
    path: Path,
    grid: Grid,
    slabs: Iterable[NDArray[Any]],
    dtype: DTypeLike,
    *,
    description: str = "",
    before: Callable[[], None] = lambda: None,
) -> None:
    """Write a label volume from `slabs` of shape `(n, y, x)`, which follow each other along z and fill `grid`.

    `dtype` is uint8 or uint16, or int16 for an image instead of labels. A grid that was read from NIfTI gets its
    geometry back, field by field; any other gets its affine as sform. No text of the input is carried over. A name that
    ends in `.gz` is packed, at level 1 and without time or name: the same labels are the same bytes. The file appears
    when it is whole, after `before` was called. Raises OutputError where the slabs do not fill the grid, or the system
    refuses.
    """
    stored = np.dtype(dtype).newbyteorder("<")
    if stored not in _WRITTEN:
        raise OutputError(f"{path}: labels are written as uint8 or uint16, not {np.dtype(dtype)}; convert them first")
    if grid.is_scene:
        raise OutputError(f"{path}: NIfTI holds volumes, not a scene of shape {grid.shape}; write .tif or .zarr")
    header = _header_of(grid)
    header.set_data_dtype(stored)
    header["vox_offset"] = header.single_vox_offset
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["intent_code"] = _LABEL if stored.kind == "u" else 0
    header["descrip"] = description.encode("ascii", "replace")[:79]
    with replacing(path, before) as temporary, temporary.open("wb") as file, _packing(file, path) as out:
        out.write(header.binaryblock + bytes(4))  # four zeros: no extensions follow
        for slab in _filling(path, grid.shape, slabs, stored):
            out.write(slab.data)


def _packing(file: BufferedIOBase, path: Path) -> AbstractContextManager[BufferedIOBase]:
    if path.suffix.lower() != ".gz":
        return nullcontext(file)
    return gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0)


def _filling(
    path: Path, shape: tuple[int, ...], slabs: Iterable[NDArray[Any]], stored: np.dtype[Any]
) -> Iterator[NDArray[Any]]:
    done = 0
    for slab in slabs:
        done += len(slab)
        if slab.shape[1:] != shape[1:] or done > shape[0]:
            raise OutputError(f"{path}: slab of shape {slab.shape} ends at slice {done} of a volume of shape {shape}")
        if not np.can_cast(slab.dtype, stored, "safe"):
            raise OutputError(f"{path}: labels of type {slab.dtype} do not fit {stored.name}; write a wider type")
        yield np.ascontiguousarray(slab, stored).reshape(-1).view(np.uint8)
    if done != shape[0]:
        raise OutputError(f"{path}: the labels end after {done} of {shape[0]} slices; run this item again")


def _read_header(stream: ByteStream) -> Header:
    """The header, of the version and byte order that its first field tells."""
    first = np.zeros(4, np.uint8)
    _read(stream, first)
    for kind in _KINDS:
        for order in "<>":
            if first.view(f"{order}i4")[0] == kind.sizeof_hdr:
                block = np.zeros(kind.sizeof_hdr, np.uint8)
                _read(stream, block)
                return _single(kind(block.tobytes(), order, check=False))
    raise InputError(
        f"is not NIfTI: it begins with {first.tobytes()!r}, not with the header size 348 or 540; convert it first"
    )


def _read(stream: ByteStream, target: NDArray[np.uint8]) -> None:
    try:
        stream.read_into(0, target.data)
    except UNREADABLE as error:
        raise InputError(f"has no whole NIfTI header ({error}); fetch the file again from where it came") from error


def _single(header: Header) -> Header:
    magic = header["magic"].item()
    if magic == header.pair_magic:
        raise InputError("is one half of a .hdr/.img pair; convert the pair to one .nii file first")
    if magic != header.single_magic:
        raise InputError(f"is not NIfTI: its magic is {magic!r}, not {header.single_magic!r}; convert it first")
    return header


def _grid(header: Header) -> Grid:
    """Shape and affine of the volume, with the header's own words for them."""
    shape = _shape([int(n) for n in header["dim"]])
    with np.errstate(all="ignore"):  # absurd numbers overflow here and are refused by what they become
        world = _world(header)
    affine = tuple(tuple(float(v) for v in row) for row in world[:, [2, 1, 0, 3]])
    return Grid(shape, affine, ("z", "y", "x"), reference={"nifti": _words(header)})


def _shape(dim: list[int]) -> tuple[int, ...]:
    """`(z, y, x)` from NIfTI's `dim`; axes that are not there count 1."""
    sizes = dim[1 : dim[0] + 1] if 1 <= dim[0] <= 7 else []
    if not sizes or min(sizes) < 1:
        raise InputError(f"has the impossible dimensions {dim} (number of axes, then sizes); its header is damaged")
    x, y, z, times, *channels = [*sizes, 1, 1, 1][: max(4, len(sizes))]
    if times > 1:
        raise InputError(f"has {times} time points; extract one first, e.g. `fslroi IN OUT 0 1` takes the first")
    if prod(channels) > 1:
        raise InputError(f"has {prod(channels)} values per voxel (dim {dim}); extract one channel first")
    return z, y, x


def _world(header: Header) -> NDArray[np.float64]:
    """NIfTI's (i, j, k, 1) to millimetres (x, y, z, 1), RAS+: the sform where it is coded, else qform, else pixdim."""
    if header["sform_code"] > 0:
        form, affine = "sform", header.get_sform()
    else:
        form, affine = "qform" if header["qform_code"] > 0 else "pixdim", _affine_without_sform(header)
    affine = np.array(affine, np.float64)
    affine[:3] *= _MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)
    _check_affine(form, affine)
    return affine


def _affine_without_sform(header: Header) -> NDArray[np.float64]:
    header = header.copy()
    sizes = header["pixdim"]
    sizes[0] = -1 if sizes[0] < 0 else 1
    sizes[1:4] = np.abs(sizes[1:4])
    unsaid = sizes[1 + int(header["dim"][0]) : 4]  # of axes that a file of one slice or row need not describe
    unsaid[~(unsaid > 0)] = 1
    if not (np.isfinite(sizes[1:4]) & (sizes[1:4] > 0)).all():
        raise InputError(f"has voxels of size {sizes[1:4].tolist()} (pixdim) and no sform; set their true size in mm")
    if header["qform_code"] <= 0:
        return np.asarray(header.get_base_affine(), np.float64)
    try:
        return np.asarray(header.get_qform(), np.float64)
    except (ValueError, HeaderDataError) as error:
        raise InputError(f"has a broken qform ({error}) and no sform; set one of them right") from error


def _check_affine(form: str, affine: NDArray[np.float64]) -> None:
    way_out = f"set a right one, or its code to 0 to do without the {form}"
    if not (np.abs(affine) < _LARGEST).all():  # also False for NaN
        raise InputError(f"its {form} is not finite: {affine[:3].tolist()}; {way_out}")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if lengths.min() * _LARGEST < 1 or abs(np.linalg.det(affine[:3, :3] / lengths)) < _FLATTEST:
        raise InputError(f"its {form} folds the volume flat (singular): {affine[:3].tolist()}; {way_out}")


def _voxels(header: Header) -> Voxels:
    """Type, place and scale of the voxels."""
    try:
        stored = header.get_data_dtype()
        slope, inter = header.get_slope_inter()
    except (KeyError, HeaderDataError) as error:
        raise InputError(f"has voxels of an unknown type or scale ({error}); convert it first") from error
    if stored.kind not in "iuf" or not stored.itemsize:
        raise InputError(f"has voxels of type {stored} (code {header['datatype']}); convert it to real numbers first")
    scale = None if slope is None or (slope, inter) == (1, 0) else (slope, inter)
    if scale and stored.kind in "iu":
        most = abs(slope) * 2.0 ** (8 * stored.itemsize) + abs(inter)
        if most > float(np.finfo(np.float32).max):
            raise InputError(f"has the scale {slope} and offset {inter}, beyond float32; set scl_slope and scl_inter")
    offset = float(header["vox_offset"])
    if not isfinite(offset) or offset < header.sizeof_hdr:
        raise InputError(f"has its voxels at byte {offset}, inside its header; set vox_offset right")
    return Voxels(stored, int(offset), scale)


def _check_length(voxels: Voxels, shape: tuple[int, ...], stream: ByteStream) -> None:
    needed = voxels.offset + prod(shape) * voxels.stored.itemsize
    if needed > stream.most:
        raise InputError(
            f"needs {needed} bytes for its shape {shape}, but holds {'at most ' * stream.packed}{stream.most}: cut "
            "short, or its header is damaged; fetch the file again from where it came"
        )


def _words(header: Header) -> dict[str, Any]:
    """The header's geometry in JSON values; a field with a number that JSON has no word for is text."""
    fields = {name: _word(header[name]) for name in _GEOMETRY}
    return {"version": 1 + _KINDS.index(type(header)), "byte_order": header.endianness, **fields}


def _word(field: NDArray[Any]) -> object:
    return field.tolist() if np.isfinite(field).all() else field.astype(str).tolist()


def _header_of(grid: Grid) -> Header:
    """A new header, little-endian, with the geometry of `grid`: the words it was read with, where they still hold."""
    words = grid.reference.get("nifti")
    if words:
        header = _KINDS[words["version"] - 1](endianness="<")
        for name in _GEOMETRY:
            header[name] = np.array(words[name], np.float64)  # also reads "nan"
        if _still_holds(header, grid):
            return header
    header = _KINDS[max(grid.shape) > np.iinfo(np.int16).max](endianness="<")
    header.set_data_shape(grid.shape[::-1])
    header.set_zooms(grid.spacing[::-1])
    header.set_xyzt_units("mm")
    # "Aligned" claims the least: these are coordinates of some other file's world. "Scanner" would claim a machine's.
    header.set_sform(np.array(grid.affine)[:, [2, 1, 0, 3]], code=_ALIGNED)
    return header


def _still_holds(header: Header, grid: Grid) -> bool:
    try:
        return _grid(header) == grid
    except InputError:
        return False
