"""Read MetaImage volumes (`.mha`, `.mhd`): a header of text lines, then voxels as a stream, as for NIfTI."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.io.remote_files import File, beside
from pipeline.io.volume.raw import RawVolumeHeader

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_LAST = "ElementDataFile"
"""The line after which voxels may begin."""
_MOST_LINES, _LONGEST = 200, 4096
_SIGNS = (-1, -1, 1)  # the world of ITK is LPS, whatever AnatomicalOrientation says: ITK does not read that either


def read_metaimage(path: File) -> RawVolumeHeader:
    """Read the header of the MetaImage volume at `path`, whose data are in it or beside it.

    Raises:
        InputError: The volume has other than three axes, several values per voxel, text data or an unsupported type.

    """
    try:
        header, start = _header(path)
        return _raw_header(path, header, start)
    except InputError as error:
        raise error.at(path) from None


def _header(path: File) -> tuple[dict[str, str], int]:
    """The lines of a header by their keys, and the byte at which it ends."""
    found: dict[str, str] = {}
    try:
        with path.open("rb") as file:
            while _LAST not in found and len(found) < _MOST_LINES and (line := file.readline(_LONGEST)):
                key, _, value = line.decode("latin-1").partition("=")
                found[key.strip()] = value.strip()
            start = file.tell()
    except OSError as error:
        raise InputError(f"cannot be opened ({error.strerror}); check the path and its permissions") from None
    if _LAST not in found or "DimSize" not in found:
        raise InputError("has no MetaImage header with DimSize and ElementDataFile; write it again")
    return found, start


def _check_layout(header: dict[str, str], sizes: NDArray[np.float64], name: str) -> None:
    """Raise InputError unless the voxels are one volume of single numbers, in one file, as bytes."""
    if len(sizes) != 3:
        raise InputError(f"has {len(sizes)} axes of sizes {sizes.tolist()}; extract one volume of three axes first")
    channels = _numbers(header, "ElementNumberOfChannels", "1")
    if channels.tolist() != [1]:
        raise InputError(f"has {channels.tolist()} values per voxel; extract one channel first")
    if name.upper().startswith("LIST") or "%" in name:
        raise InputError("has its voxels in several files; write it again into one")
    if not _is(header, "BinaryData", "True"):
        raise InputError("has its voxels as text; write it again as binary data")


def _raw_header(path: File, header: dict[str, str], start: int) -> RawVolumeHeader:
    sizes, name = _numbers(header, "DimSize", None), header[_LAST]
    _check_layout(header, sizes, name)
    kind = _TYPES.get(header.get("ElementType", ""))
    if kind is None:
        raise InputError("has voxels of a type that is not supported; convert it to MET_SHORT or MET_FLOAT first")
    big = _is(header, "BinaryDataByteOrderMSB", header.get("ElementByteOrderMSB", "False"))
    turned = _numbers(header, "TransformMatrix", _other(header, ("Rotation", "Orientation"), "1 0 0 0 1 0 0 0 1"))
    spacing = _numbers(header, "ElementSpacing", header.get("ElementSize", "1 1 1"))
    if turned.shape != (9,) or spacing.shape != (3,):
        raise InputError("has no TransformMatrix of 9 numbers and ElementSpacing of 3; write it again")
    local = name.upper() == "LOCAL"
    return RawVolumeHeader(
        data=path if local else beside(path, name),
        start=(start if local else 0, int(_numbers(header, "HeaderSize", "0")[0])),
        packing="zlib" if _is(header, "CompressedData", "False") else "raw",
        stored=np.dtype((">" if big else "<") + kind),
        shape=(int(sizes[2]), int(sizes[1]), int(sizes[0])),
        directions=turned.reshape(3, 3) * spacing[:, None],
        origin=_numbers(header, "Offset", _other(header, ("Position", "Origin"), "0 0 0")),
        signs=_SIGNS,
    )


def _is(header: dict[str, str], key: str, otherwise: str) -> bool:
    return header.get(key, otherwise).lower() in ("true", "1")


def _other(header: dict[str, str], keys: tuple[str, ...], otherwise: str) -> str:
    return next((header[key] for key in keys if key in header), otherwise)


def _numbers(header: dict[str, str], key: str, otherwise: str | None) -> NDArray[np.float64]:
    try:
        found = np.array([float(word) for word in header.get(key, otherwise or "").split()])
    except ValueError:
        found = np.array([np.nan])
    if not len(found) or not np.isfinite(found).all():
        raise InputError(f"has no finite numbers for {key}; write it again")
    return found
