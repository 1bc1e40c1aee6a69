"""Read NRRD volumes: the header by pynrrd, which only this module imports; voxels as a stream, as for NIfTI."""

from __future__ import annotations

from typing import Any

import nrrd
import numpy as np

from pipeline.errors import InputError, RemoteError
from pipeline.io.remote_files import File, beside
from pipeline.io.volume.raw import RawVolumeHeader

_SIGNS = {
    "left-posterior-superior": (-1, -1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "right-anterior-superior": (1, 1, 1),
    "lps": (-1, -1, 1),
    "las": (-1, 1, 1),
    "ras": (1, 1, 1),
}
"""By space of a file: what its coordinates are multiplied with to be RAS+."""
_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    "float": "f4",
    "double": "f8",
}
_PACKINGS: dict[str, Any] = {"raw": "raw", "gzip": "gzip", "gz": "gzip"}


def read_nrrd(path: File) -> RawVolumeHeader:
    """Read the header of the NRRD volume at `path`, whose data are in it or, for a `.nhdr`, beside it.

    Raises:
        InputError: The volume has other than three axes, no anatomical space, or an unsupported type or encoding.

    """
    try:
        with path.open("rb") as file:
            header, start = nrrd.read_header(file), file.tell()
    except RemoteError:
        raise
    except Exception:  # what is raised may quote the file
        raise InputError(f"{path}: has no NRRD header that can be read; write it again") from None
    try:
        return _raw_header(path, header, start)
    except InputError as error:
        raise error.at(path) from None


def _raw_header(path: File, header: Any, start: int) -> RawVolumeHeader:  # noqa: ANN401  (a dictionary of anything)
    sizes = [int(size) for size in header["sizes"]]
    if len(sizes) != 3:
        raise InputError(f"has {len(sizes)} axes of sizes {sizes}; extract one volume of three axes first")
    signs = _signs(header)
    encoding = str(header.get("encoding", "")).lower()
    if encoding not in _PACKINGS or header.get("line skip", header.get("lineskip", 0)):
        raise InputError("has an encoding other than raw and gzip, or lines to skip; write it again with gzip")
    name = _data_file(header)
    return RawVolumeHeader(
        data=path if name is None else beside(path, name),
        start=(start if name is None else 0, int(header.get("byte skip", header.get("byteskip", 0)))),
        packing=_PACKINGS[encoding],
        stored=_stored(header),
        shape=(sizes[2], sizes[1], sizes[0]),
        directions=np.asarray(header.get("space directions"), np.float64),
        origin=np.asarray(header.get("space origin", np.zeros(3)), np.float64),
        signs=signs,
    )


def _signs(header: Any) -> tuple[int, int, int]:  # noqa: ANN401
    """What coordinates are multiplied with to be RAS+ millimeters."""
    space = str(header.get("space", "")).lower()
    if space not in _SIGNS:
        known = "left-posterior-superior, left-anterior-superior, right-anterior-superior"
        raise InputError(f"has no anatomical space, so its axes may point anywhere; set `space` to one of {known}")
    if any(str(unit).strip('"') != "mm" for unit in header.get("space units", ())):
        raise InputError("has space units other than mm; convert it to mm first")
    return _SIGNS[space]


def _data_file(header: Any) -> str | None:  # noqa: ANN401
    """Name of the file with the voxels; None: they follow the header."""
    name = header.get("data file", header.get("datafile"))
    if name is not None and (not isinstance(name, str) or "%" in name or name.upper().startswith("LIST")):
        raise InputError("has its data in several files; write it again into one")
    return name


def _stored(header: Any) -> np.dtype[Any]:  # noqa: ANN401  (a dictionary of anything)
    kind = _TYPES.get(str(header.get("type")).lower())
    if kind is None:
        raise InputError("has voxels of a type that is not supported; convert it to short or float first")
    return np.dtype((">" if header.get("endian") == "big" else "<") + kind)
