"""The DICOM files of a folder, or of a zip of one, told by their first bytes. No library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO
from zipfile import BadZipFile, ZipFile

from pipeline.errors import InputError

_MAGIC, _AT = b"DICM", 128
_OF_ZARR = ("zarr.json", ".zgroup", ".zarray")
BROKEN = (OSError, EOFError, BadZipFile, NotImplementedError, RuntimeError)
"""What is raised where a file or a member of a zip is damaged, encrypted or gone."""


class Files:
    """The files directly in a folder, or all in a zip; hidden ones are left out. Any thread may open one."""

    def __init__(self, path: Path) -> None:
        """Raises InputError for a damaged zip."""
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
        """Name of each file, in order."""
        if self._zip is None:
            found = [file.name for file in self.path.iterdir() if file.is_file()]
        else:
            found = [info.filename for info in self._zip.infolist() if not info.is_dir()]
        return sorted(name for name in found if not PurePosixPath(name).name.startswith("."))

    def dicom(self) -> Iterator[str]:
        """Name of each DICOM file, in order."""
        return (name for name in self.names() if self._is_dicom(name))

    def open(self, name: str) -> IO[bytes]:
        """A file, to be read."""
        return (self.path / name).open("rb") if self._zip is None else self._zip.open(name)

    def close(self) -> None:
        """Release the zip."""
        if self._zip is not None:
            self._zip.close()

    def _is_dicom(self, name: str) -> bool:
        try:
            with self.open(name) as file:
                return file.read(_AT + len(_MAGIC))[_AT:] == _MAGIC
        except BROKEN:
            return False


def is_dicom(path: Path) -> bool:
    """Whether `path` is a folder with DICOM files directly in it, or a zip that holds some."""
    zipped = path.suffix.lower() == ".zip" and path.is_file()
    if not zipped and (not path.is_dir() or any((path / name).exists() for name in _OF_ZARR)):
        return False
    try:
        files = Files(path)
    except InputError:
        return False
    try:
        return any(True for _ in files.dicom())
    except OSError:
        return False
    finally:
        files.close()


def names_inside(path: Path) -> list[str]:
    """Name of each file of a folder or zip."""
    files = Files(path)
    try:
        return files.names()
    finally:
        files.close()
