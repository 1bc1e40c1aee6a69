"""Tell what a file is by its first bytes, where it is not what its name says."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Container, Iterable
from dataclasses import dataclass
from io import BufferedReader
from itertools import islice
from pathlib import PurePosixPath
from typing import Literal, Protocol
from zipfile import ZipFile, is_zipfile

_HEAD = 1024
"""Bytes that are read of a file."""
_SORTS = ("stand-in", "archive", "format")
_DAMAGED = (OSError, EOFError, ValueError, zlib.error, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class FileKind:
    """What the first bytes of a file say that it is."""

    sort: Literal["stand-in", "archive", "format"]
    """Something else in the place of the file, a file that holds others, or a format."""
    name: str
    """With its article: "a Git LFS pointer"."""
    cure: str
    """What makes the file usable."""

    def __str__(self) -> str:
        return f"is {self.name}; {self.cure}"


def _stand_in(name: str, cure: str = "download it again") -> FileKind:
    return FileKind("stand-in", name, cure)


def _archive(name: str, command: str) -> FileKind:
    return FileKind("archive", name, f"unpack it with `{command}`")


def _format(name: str, cure: str = "convert it first") -> FileKind:
    return FileKind("format", name, cure)


TIFF = _format("a TIFF", "give it the suffix .tif")
NIFTI = _format("a NIfTI", "give it the suffix .nii")
PACKED_NIFTI = _format("a NIfTI packed with gzip", "give it the suffix .nii.gz")
NRRD = _format("an NRRD", "give it the suffix .nrrd")
METAIMAGE = _format("a MetaImage", "give it the suffix .mha")
DICOM = _format("DICOM", "give the folder of its series")
HDF5 = _format("HDF5")
PICKLE = _format("a Python pickle")
SAFETENSORS = _format("a file of safetensors", "`pipeline import-weights` makes a model of it")
CHECKPOINT = _format("a PyTorch checkpoint", "`pipeline import-weights` makes a model of it")
_GEOPACKAGE = _format("an SQLite database, such as a GeoPackage")
_OF_GDAL = (HDF5, _GEOPACKAGE, *map(_format, ("NetCDF", "GRIB", "a PNG", "a JPEG", "a JPEG 2000", "a PDF")))
RASTERS = (TIFF, *_OF_GDAL)
"""What GDAL reads, whatever the suffix."""
_NETCDF, _GRIB, _PNG, _JPEG, _JPEG_2000, _PDF = _OF_GDAL[2:]
_LFS = _stand_in("a Git LFS pointer, not the file itself", "fetch that with `git lfs pull`")
_ANNEX = _stand_in("a git-annex pointer, not the file itself", "fetch that with `git annex get`")
_TAR = "a tar archive"

_MARKS: tuple[tuple[int, bytes, FileKind], ...] = (
    (0, b"version https://git-lfs.", _LFS),
    (0, b"version https://hawser.", _LFS),
    (0, b"/annex/objects/", _ANNEX),
    (0, b"II*\0", TIFF),
    (0, b"MM\0*", TIFF),
    (0, b"II+\0", TIFF),
    (0, b"MM\0+", TIFF),
    (344, b"n+1\0", NIFTI),
    (4, b"n+2\0", NIFTI),
    (0, b"NRRD000", NRRD),
    (0, b"ObjectType = ", METAIMAGE),
    (128, b"DICM", DICOM),
    (0, b"\x89HDF\r\n\x1a\n", HDF5),
    (0, b"CDF\x01", _NETCDF),
    (0, b"CDF\x02", _NETCDF),
    (0, b"GRIB", _GRIB),
    (0, b"SQLite format 3\0", _GEOPACKAGE),
    (0, b"MATLAB 5.0 MAT-file", _format("a MATLAB file")),
    (0, b"\x93NUMPY", _format("a NumPy array (.npy)")),
    (0, b"GGUF", _format("GGUF")),
    (4, b"TFL3", _format("TensorFlow Lite")),
    (0, b"\x89PNG\r\n", _PNG),
    (0, b"\xff\xd8\xff", _JPEG),
    (0, b"\0\0\0\x0cjP  ", _JPEG_2000),
    (0, b"%PDF-", _PDF),
    (257, b"ustar", _archive(_TAR, "tar -xf")),
    (0, b"BZh", _archive("packed with bzip2", "bunzip2")),
    (0, b"\xfd7zXZ\0", _archive("packed with xz", "unxz")),
    (0, b"\x28\xb5\x2f\xfd", _archive("packed with Zstandard", "unzstd")),
    (0, b"7z\xbc\xaf\x27\x1c", _archive("a 7-Zip archive", "7z x")),
    (0, b"Rar!\x1a\x07", _archive("a RAR archive", "unrar x")),
    *((0, bytes([0x80, protocol]), PICKLE) for protocol in range(2, 6)),
)
"""Where in a file, which bytes, and what it then is; the first counts."""
ONNX = _format("an ONNX network", "`pipeline import-weights` makes a model of it")
_TIFFS, _VOLUMES = (".tif", ".tiff"), (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")


class Opens(Protocol):
    """A path, or what is opened like one."""

    def open(self, mode: Literal["rb"], /) -> BufferedReader:
        """Open it for reading."""


def recognize(path: Opens) -> FileKind | None:
    """Return what a file is by its first bytes; None where they say nothing, or it cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return None
    if head.startswith(b"PK"):
        return _zip(path)
    if head.startswith(b"\x1f\x8b"):
        return _gzip(path)
    return kind_of(head)


def unlike(path: Opens, *own: FileKind, sorts: Container[str] = _SORTS) -> FileKind | None:
    """Return what a file is by its first bytes, of these sorts, if that is none of `own`; else None."""
    found = recognize(path)
    return None if found is None or found in own or found.sort not in sorts else found


def stand_in(path: Opens) -> FileKind | None:
    """Return what lies in the place of a file: a pointer, a web page, zeros; None if that is not so."""
    return unlike(path, sorts=("stand-in",))


def kind_of(head: bytes) -> FileKind | None:
    """Return what a file with these first bytes is, of what need not be unpacked to be told."""
    if not head.strip(b"\0"):
        return _stand_in("nothing but zeros, as after a broken download" if head else "empty (0 bytes)")
    found = next((kind for at, mark, kind in _MARKS if head.startswith(mark, at)), None)
    return found or next((kind for is_it, kind in _TESTS if is_it(head)), None)


def _is_page(head: bytes) -> bool:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return text.startswith((b"<!doctype html", b"<html", b"<head", b"<body"))


def _is_answer(head: bytes) -> bool:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text.startswith(b"<?xml") and (b"<Error" in text or b"<html" in text.lower())


def _is_safetensors(head: bytes) -> bool:
    """Whether the length of a table of JSON comes first, and then the table."""
    return head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") < 1 << 32


def _is_onnx(head: bytes) -> bool:
    """Whether a protocol buffer begins with a small version and the name of a producer, or with a graph."""
    return len(head) > 3 and head[0] == 8 and 1 <= head[1] <= 0x20 and head[2] in (0x12, 0x3A, 0x42)


_TESTS = (
    (_is_page, _stand_in("a web page (HTML), such as a log-in or an error")),
    (_is_answer, _stand_in("an error of a server, in XML")),
    (_is_safetensors, SAFETENSORS),
    (_is_onnx, ONNX),
)


def _gzip(path: Opens) -> FileKind:
    try:
        with path.open("rb") as packed, gzip.open(packed) as file:
            inside = kind_of(file.read(_HEAD))
    except _DAMAGED:
        return _stand_in("packed with gzip, but damaged or cut off")
    if inside == NIFTI:
        return PACKED_NIFTI
    if inside is not None and inside.name == _TAR:
        return _archive(f"{_TAR} packed with gzip", "tar -xzf")
    return _archive("packed with gzip" if inside is None else f"{inside.name} packed with gzip", "gunzip")


def _zip(path: Opens) -> FileKind:
    try:
        with path.open("rb") as file:
            if not is_zipfile(file):
                return _stand_in("a zip that is cut off")
            with ZipFile(file) as archive:
                names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    except _DAMAGED:
        return _stand_in("a damaged zip")
    return CHECKPOINT if any(name.endswith("/data.pkl") for name in names) else _zip_of(path, names)


def _zip_of(path: Opens, names: list[str]) -> FileKind:
    if tiffs := _ending(names, _TIFFS):
        return FileKind("archive", "a zip of GeoTIFF", f"give the file in it: /vsizip/{path}/{tiffs[0]}")
    if volumes := _ending(names, _VOLUMES):
        return FileKind("archive", f"a zip of volumes ({volumes[0]})", "unzip it, and give what is in it")
    if zips := _ending(names, (".zip",)):
        return FileKind("archive", f"a zip in a zip ({zips[0]})", "unzip the outer one")
    listed = ", ".join(islice((PurePosixPath(name).name for name in names), 3))
    return FileKind("archive", f"a zip of {listed or 'nothing'}", "unzip it, and give what is in it")


def _ending(names: Iterable[str], suffixes: tuple[str, ...]) -> list[str]:
    return sorted(name for name in names if name.lower().endswith(suffixes) and not name.startswith("__MACOSX"))
