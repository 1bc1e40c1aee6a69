"""Find the CT and MR images of a folder or a zip by their first bytes, without a library."""

from __future__ import annotations

import zlib
from pathlib import Path, PurePosixPath
from typing import IO
from zipfile import BadZipFile, ZipFile

from pipeline.errors import InputError

_MAGIC, _AT = b"DICM", 128
IMAGES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.2.1": "CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.4.1": "MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "MR",
}
"""Modality by SOP class: CT and MR images, enhanced and legacy converted ones too."""
_KIND = b"\x02\x00\x02\x00UI"
"""Before the length and the text of a file's SOP class, MediaStorageSOPClassUID."""
_HEAD = 512
_OF_ZARR = ("zarr.json", ".zgroup", ".zarray")
BROKEN = (OSError, EOFError, BadZipFile, NotImplementedError, RuntimeError, zlib.error)
"""What is raised where a file or a member of a zip is damaged, encrypted or gone."""


class Files:
    """The files directly in a folder, or all in a zip; hidden ones are left out. Any thread may open one."""

    def __init__(self, path: Path) -> None:
        """Open a folder or zip.

        Raises:
            InputError: The zip is damaged.

        """
        self.path = path
        try:
            self._zip = None if path.is_dir() else ZipFile(path)
        except BROKEN as error:
            raise InputError(f"{path}: is not a whole zip ({error}); fetch it again, or give the folder") from error

    @property
    def packed(self) -> bool:
        """Whether a file can only be read from its start: a zip."""
        return self._zip is not None

    def names(self) -> list[str]:
        """Return the name of each file, in order."""
        if self._zip is None:
            found = [file.name for file in self.path.iterdir() if file.is_file()]
        else:
            found = [info.filename for info in self._zip.infolist() if not info.is_dir()]
        return sorted(name for name in found if not PurePosixPath(name).name.startswith("."))

    def head(self, name: str) -> bytes:
        """Return the first bytes of a file, for `may_be_image`."""
        with self.open(name) as file:
            return file.read(_HEAD)

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        return (self.path / name).open("rb") if self._zip is None else self._zip.open(name)

    def close(self) -> None:
        """Release the zip."""
        if self._zip is not None:
            self._zip.close()


def may_be_image(head: bytes) -> bool:
    """Return whether a file with these first bytes is DICOM and, as far as they say, a CT or MR image."""
    before, found, after = head[_AT:].partition(_KIND)
    kind = after[2 : 2 + int.from_bytes(after[:2], "little")].rstrip(b"\0 ").decode("latin-1")
    return before.startswith(_MAGIC) and (not found or kind in IMAGES)


def is_dicom(path: Path) -> bool:
    """Return whether `path` is a folder with CT or MR images in DICOM directly in it, or a zip that holds some."""
    zipped = path.suffix.lower() == ".zip" and path.is_file()
    if not zipped and (not path.is_dir() or any((path / name).exists() for name in _OF_ZARR)):
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


def _may_be_image(files: Files, name: str) -> bool:
    try:
        return may_be_image(files.head(name))
    except BROKEN:
        return False


def names_inside(path: Path) -> list[str]:
    """Return the name of each file of a folder or zip."""
    files = Files(path)
    try:
        return files.names()
    finally:
        files.close()
