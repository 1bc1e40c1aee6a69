"""Find the CT and MR images of a folder, a zip or a file by their first bytes, without a library."""

from __future__ import annotations

import zlib
from pathlib import Path, PurePosixPath
from typing import IO
from zipfile import BadZipFile, ZipFile

from pipeline.errors import InputError
from pipeline.files.signatures import FileKind, kind_of
from pipeline.io.dicom.encoding import HEAD, layout_of
from pipeline.io.remote_files import File, RemoteFile

IMAGES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.2.1": "CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.4.1": "MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "MR",
}
"""Modality by SOP class: CT and MR images, enhanced and legacy converted ones too."""
MOST_UNPACKED = 256 << 20
"""Most bytes of a member of a zip that are unpacked: several times the largest slice."""
_MIB = 1 << 20
_SUFFIX = ".dcm"
_OF_ZARR = ("zarr.json", ".zgroup", ".zarray")
BROKEN = (OSError, EOFError, BadZipFile, NotImplementedError, RuntimeError, zlib.error)
"""What is raised where a file or a member of a zip is damaged, encrypted or gone."""


class Files:
    """The files directly in a folder, all in a zip, or one by itself; hidden ones are left out.

    Any thread may open one.
    """

    def __init__(self, path: File) -> None:
        """Open a folder, zip or file.

        Raises:
            InputError: The zip is damaged.

        """
        self.path = path
        try:
            self._zip = _opened_zip(path) if _is_zip(path) else None
        except BROKEN as error:
            raise InputError(f"{path}: is not a whole zip ({error}); fetch it again, or give the folder") from error

    @property
    def packed(self) -> bool:
        """Whether a file can only be read from its start: a zip."""
        return self._zip is not None

    def names(self) -> list[str]:
        """Return the name of each file, in order."""
        if self._zip is not None:
            found = [info.filename for info in self._zip.infolist() if not info.is_dir()]
        elif isinstance(self.path, Path) and self.path.is_dir():
            found = [file.name for file in self.path.iterdir() if file.is_file()]
        else:
            return [self.path.name]
        return sorted(name for name in found if not PurePosixPath(name).name.startswith("."))

    def place(self, name: str) -> str:
        """Return where a file is, for a message."""
        return f"{self.path}, file {name}" if self._zip is not None or self.path.is_dir() else f"{self.path}"

    def head(self, name: str) -> bytes:
        """Return the first bytes of a file, for `may_be_image`."""
        with self._opened(name) as file:
            return file.read(HEAD)

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading.

        Raises:
            InputError: A member of a zip is larger than any slice.

        """
        size = 0 if self._zip is None else self._zip.getinfo(name).file_size
        if size > MOST_UNPACKED:
            raise InputError(
                f"unpacks to {size / _MIB:,.0f} MiB, and the most is {MOST_UNPACKED / _MIB:,.0f}; "
                "unzip it, and give the folder"
            )
        return self._opened(name)

    def _opened(self, name: str) -> IO[bytes]:
        if self._zip is not None:
            return self._zip.open(name)
        return (self.path / name if isinstance(self.path, Path) and self.path.is_dir() else self.path).open("rb")

    def close(self) -> None:
        """Release the zip."""
        if self._zip is not None:
            file = self._zip.fp
            self._zip.close()
            if file is not None:
                file.close()


def may_be_image(head: bytes) -> bool:
    """Return whether a file with these first bytes is DICOM and, as far as they say, a CT or MR image."""
    layout = layout_of(head)
    return layout is not None and (not layout.sop_class or layout.sop_class in IMAGES)


def stands_for(head: bytes) -> FileKind | None:
    """Return what a file is that stands for one that was not fetched; None if it does not."""
    kind = kind_of(head) if head else None
    return kind if kind is not None and kind.sort == "stand-in" else None


def is_dicom(path: Path) -> bool:
    """Return whether `path` is a folder with CT or MR images in DICOM directly in it, a zip of some, or one itself."""
    if path.is_dir() and any((path / name).exists() for name in _OF_ZARR):
        return False
    try:
        files = Files(path)
    except InputError:
        return False
    try:
        return any(_may_be_image(files, name) for name in files.names())
    except OSError:
        return False
    finally:
        files.close()


def _is_zip(path: File) -> bool:
    return path.suffix.lower() == ".zip" and (isinstance(path, RemoteFile) or path.is_file())


def _opened_zip(path: File) -> ZipFile:
    """Open a zip; at an address, its members are read by ranges."""
    return ZipFile(path) if isinstance(path, Path) else ZipFile(path.open("rb"))


def _may_be_image(files: Files, name: str) -> bool:
    try:
        head = files.head(name)
    except BROKEN:
        return False
    return may_be_image(head) or (name.lower().endswith(_SUFFIX) and stands_for(head) is not None)


def names_inside(path: File) -> list[str]:
    """Return the name of each file of a folder or zip, or of the file itself."""
    files = Files(path)
    try:
        return files.names()
    finally:
        files.close()
