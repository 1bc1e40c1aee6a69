"""The header of a NIfTI file: the grid and the type of its voxels, and the fields that hold them."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, prod
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.geometry import Grid
from pipeline.geometry.affine import corner_distance, from_ijk, is_flat
from pipeline.io.volume.stream import UNREADABLE, ByteStream, VoxelLayout, stream_of

Header = Any
"""A nibabel header of either version (nibabel leaves its methods untyped)."""
Floats = NDArray[np.float64]

KINDS: tuple[Any, ...] = (Nifti1Header, Nifti2Header)
STRICT = "strict"
FORMS = ("sform", "qform")
"""The two affines of a header; the first takes precedence by default."""
GEOMETRY = (
    *("dim_info", "dim", "pixdim", "slice_start", "slice_end", "slice_code", "slice_duration", "toffset"),
    *("xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)
"""Header fields of the geometry, without any that say what the values mean or whose they are."""
_CODES = {1: "scanner", 2: "aligned", 3: "Talairach", 4: "MNI 152", 5: "template"}
_MILLIMETERS = {1: 1000.0, 3: 0.001}
"""By NIfTI's code of the unit: meter, micron; everything else is read as millimeter."""
_LARGEST = 1e30
_APART = 0.5
"""Voxels by which the corners of sform and qform may be apart: a quaternion in float32 is that coarse."""


def read_header(stream: ByteStream, *, paired: bool) -> Header:
    """Read the header at the start of a file, in the version and byte order given by its first field."""
    first = np.zeros(4, np.uint8)
    _read(stream, first)
    for kind in KINDS:
        for order in "<>":
            if first.view(f"{order}i4")[0] == kind.sizeof_hdr:
                block = np.zeros(kind.sizeof_hdr, np.uint8)
                _read(stream, block)
                return _checked(kind(block.tobytes(), order, check=False), paired)
    raise InputError(
        f"is not NIfTI: it begins with {first.tobytes()!r}, not with the header size 348 or 540; convert it first"
    )


def grid_in(block: bytes, shape: tuple[int, ...], affine: str) -> Grid:
    """Return the grid of a header in bytes, for an array of `shape` `(z, y, x)`, whatever its own dimensions."""
    header = read_header(stream_of(block), paired=False)
    if max(shape) > np.iinfo(header["dim"].dtype).max:
        raise InputError(f"is NIfTI-1, which cannot hold the shape {shape}; write it as NIfTI-2")
    header["dim"] = [3, *shape[::-1], 1, 1, 1, 1]
    return grid_of(header, affine, None, {})


def grid_of(header: Header, affine: str, volume: int | None, text: Mapping[str, Any]) -> Grid:
    """Return the grid of a volume, with the header's fields and `text` as its reference."""
    dim = header["dim"].tolist()
    shape = _shape(dim, volume)
    with np.errstate(all="ignore"):  # absurd numbers overflow here and are refused by what they become
        form, disagree, world = _world(header, shape, affine)
    words = {**_words(header), "form": form, "disagree": disagree, **text}
    if volume is not None and volume_count(header) > 1:
        words["dim"] = [3, *dim[1:4], 1, 1, 1, 1]
    return _grid(shape, world, words)


def with_form(grid: Grid, form: str) -> Grid:
    """Return a grid that was read from NIfTI by its sform or its qform alone.

    Raises:
        InputError: That affine is invalid.

    """
    words = grid.reference["nifti"]
    return _grid(grid.shape, _matrix(header_of(words), form), words)


def header_of(words: Mapping[str, Any]) -> Header:
    """Return a new header, little-endian, with the geometry fields `words`."""
    header = KINDS[words["version"] - 1](endianness="<")
    for name in GEOMETRY:
        header[name] = np.array(words[name], np.float64)  # also reads "nan"
    return header


def volume_count(header: Header) -> int:
    """Return the number of volumes in a file: 1 unless it is 4-D."""
    dim = header["dim"].tolist()
    return int(dim[4]) if dim[0] > 3 else 1


def describes(header: Header, grid: Grid, form: str) -> bool:
    """Return whether a header has the shape and the affine of `grid`, by its sform or its qform."""
    try:
        return grid_of(header, form, None, {}) == grid
    except InputError:
        return False


def voxels_of(header: Header) -> VoxelLayout:
    """Return the type, offset and scale of the voxels.

    Raises:
        InputError: They are not real numbers, or their offset or scale is invalid.

    """
    try:
        stored = header.get_data_dtype()
        slope, inter = header.get_slope_inter()
    except (KeyError, HeaderDataError) as error:
        raise InputError(f"has voxels of an unknown type or scale ({error}); convert it first", "voxel-type") from error
    if stored.kind not in "iuf" or not stored.itemsize:
        raise InputError(
            f"has voxels of type {stored} (code {header['datatype']}); convert it to real numbers first", "voxel-type"
        )
    scale = None if slope is None or (slope, inter) == (1, 0) else (slope, inter)
    if scale and stored.kind in "iu":
        most = abs(slope) * 2.0 ** (8 * stored.itemsize) + abs(inter)
        if most > float(np.finfo(np.float32).max):
            raise InputError(
                f"has the scale {slope} and offset {inter}, beyond float32; correct scl_slope and scl_inter"
            )
    offset = float(header["vox_offset"])
    paired = header["magic"].item() == header.pair_magic
    if not isfinite(offset) or offset < (0 if paired else header.sizeof_hdr):
        raise InputError(f"has its voxels at byte {offset}, inside its header; correct vox_offset")
    return VoxelLayout(stored, int(offset), scale)


def _grid(shape: tuple[int, ...], world: Floats, words: Mapping[str, Any]) -> Grid:
    return Grid(shape, from_ijk(world), ("z", "y", "x"), reference={"nifti": words})


def _read(stream: ByteStream, target: NDArray[np.uint8]) -> None:
    try:
        stream.read_into(0, target.data)
    except UNREADABLE as error:
        raise InputError(
            f"has no NIfTI header that can be read ({error}); fetch the file again from where it came"
        ) from error


def _checked(header: Header, paired: bool) -> Header:
    magic = header["magic"].item()
    if not magic and paired:
        raise InputError("is Analyze 7.5, which does not distinguish left from right; convert it to NIfTI first")
    if magic == header.pair_magic and not paired:
        raise InputError("is one half of a .hdr/.img pair; give both halves these suffixes, and name the .hdr")
    if magic not in (header.single_magic, header.pair_magic):
        raise InputError(f"is not NIfTI: its magic is {magic!r}, not {header.single_magic!r}; convert it first")
    if magic == header.single_magic and paired:
        raise InputError(f"is not half of a pair: its magic is {magic!r}; rename it to .nii")
    return header


def _shape(dim: list[int], volume: int | None) -> tuple[int, ...]:
    """`(z, y, x)` from NIfTI's `dim`; axes that are not there count 1."""
    sizes = dim[1 : dim[0] + 1] if 1 <= dim[0] <= 7 else []
    if not sizes or min(sizes) < 1:
        raise InputError(f"has the impossible dimensions {dim} (number of axes, then sizes); its header is damaged")
    x, y, z, times, *channels = [*sizes, 1, 1, 1][: max(4, len(sizes))]
    if prod(channels) > 1:
        raise InputError(f"has {prod(channels)} values per voxel (dim {dim}); extract one channel first", "4d")
    if times > 1 and volume is None:
        raise InputError(
            f"is 4-D, with {times} volumes; --volume 0 takes the first of them, --volume all makes a mask of each", "4d"
        )
    if volume is not None and not 0 <= volume < times:
        raise InputError(f"has no volume {volume}: there are {times}, counted from 0; give another --volume", "4d")
    return z, y, x


def _world(header: Header, shape: tuple[int, ...], affine: str) -> tuple[str, bool, Floats]:
    """The form that holds, whether the other disagrees, and NIfTI's (i, j, k, 1) to millimeters (x, y, z, 1), RAS+.

    The sform where it is coded, else the qform, else pixdim; where both are and disagree, the one that is asked for.
    """
    coded = [form for form in FORMS if header[f"{form}_code"] > 0]
    if len(coded) < len(FORMS):
        form = coded[0] if coded else "pixdim"
        return form, False, _matrix(header, form)
    try:
        matrices = {form: _matrix(header, form) for form in FORMS}
        _check_agreement(header, shape, *matrices.values())
    except InputError as error:
        if affine == STRICT:
            raise InputError(
                f"{error}, or choose one with --nifti-affine sform or --nifti-affine qform", error.code
            ) from error
        return affine, True, _matrix(header, affine)
    return FORMS[0], False, matrices[FORMS[0]]


def _check_agreement(header: Header, shape: tuple[int, ...], sform: Floats, qform: Floats) -> None:
    apart = corner_distance(shape[::-1], sform, qform)
    if apart > _APART * np.linalg.norm(sform[:3, :3], axis=0).min():
        codes = (f"{form} (code {_code(header, form)})" for form in FORMS)
        raise InputError(
            f"its {' and its '.join(codes)} disagree, by {apart:.4g} mm at the far corner; make them equal",
            "forms-disagree",
        )


def _code(header: Header, form: str) -> str:
    code = int(header[f"{form}_code"])
    return f"{code}, {_CODES[code]}" if code in _CODES else f"{code}"


def _matrix(header: Header, form: str) -> Floats:
    affine = np.array(header.get_sform() if form == "sform" else _without_sform(header, form), np.float64)
    affine[:3] *= _MILLIMETERS.get(int(header["xyzt_units"]) & 7, 1.0)
    shown = affine[:3].tolist()
    if not (np.abs(affine) < _LARGEST).all():  # also False for NaN
        raise InputError(f"its {form} is not finite: {shown}; correct it", "affine-not-finite")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if lengths.min() * _LARGEST < 1:
        raise InputError(f"its {form} has voxels of size 0 (singular): {shown}; correct it", "spacing-zero")
    if is_flat(affine[:3, :3]):
        raise InputError(f"its {form} folds the volume flat (singular): {shown}; correct it", "affine-singular")
    return affine


def _without_sform(header: Header, form: str) -> Floats:
    header = header.copy()
    sizes = header["pixdim"]
    sizes[0] = -1 if sizes[0] < 0 else 1
    sizes[1:4] = np.abs(sizes[1:4])
    unsaid = sizes[1 + int(header["dim"][0]) : 4]  # of axes that a file of one slice or row need not describe
    unsaid[~(unsaid > 0)] = 1
    if not (np.isfinite(sizes[1:4]) & (sizes[1:4] > 0)).all():
        raise InputError(
            f"has voxels of size {sizes[1:4].tolist()} (pixdim, for its {form}); correct it", "spacing-zero"
        )
    if form == "pixdim":
        return np.asarray(header.get_base_affine(), np.float64)
    try:
        return np.asarray(header.get_qform(), np.float64)
    except (ValueError, HeaderDataError) as error:
        raise InputError(f"has a broken qform ({error}); correct it", "affine-not-finite") from error


def _words(header: Header) -> dict[str, Any]:
    """The header's geometry in JSON values; a field with a number that JSON has no word for is text."""
    fields = {name: _word(header[name]) for name in GEOMETRY}
    return {"version": 1 + KINDS.index(type(header)), "byte_order": header.endianness, **fields}


def _word(field: NDArray[Any]) -> object:
    return field.tolist() if np.isfinite(field).all() else field.astype(str).tolist()
