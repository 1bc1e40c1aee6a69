"""A file at an address, opened for reading like one on this machine: by http(s), or in an object store.

Readers of volumes take either: a `File` has a name, is opened, and knows what lies beside it.
"""

from __future__ import annotations

import re
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import quote, urlsplit, urlunsplit

from pipeline.errors import InputError, RemoteError, RequestError
from pipeline.files.object_path import ObjectPath, is_object
from pipeline.io.address import name_of, redact_url
from pipeline.io.ranges import Ranges, Version, changed, open_ranges
from pipeline.optional import need

_OF_GDAL = re.compile(r"/vsi(s3|gs|az)/")
_WEB = ("http://", "https://")


def plain_address(text: str) -> str:
    """Return an address without the names of GDAL's file systems.

    >>> plain_address("/vsis3/bucket/a.nii"), plain_address("/vsicurl/https://host/a.nii")
    ('s3://bucket/a.nii', 'https://host/a.nii')
    """
    return _OF_GDAL.sub(r"\1://", text.removeprefix("/vsicurl/"), count=1)


class RemoteFile:
    """A file at an address, of one version: that which was met first, by whoever has this object or a copy of it."""

    def __init__(self, address: str, family: dict[str, RemoteFile] | None = None) -> None:
        """Name a file; nothing is asked. `family` are the files beside it."""
        self._address = plain_address(address)
        self._family: dict[str, RemoteFile] = {} if family is None else family
        self._family[self.name] = self
        self._version: Version | None = None

    @property
    def name(self) -> str:
        """The last part of its path, without parameters."""
        return name_of(self._address)

    @property
    def suffix(self) -> str:
        """The suffix of its name."""
        return PurePosixPath(self.name).suffix

    def with_name(self, name: str) -> RemoteFile:
        """Return a file beside it, the same one each time; the parameters of an address are kept.

        Raises:
            InputError: The name leads elsewhere.

        """
        name = name.removeprefix("./")
        if not name or name in (".", "..") or "/" in name or "\\" in name:
            raise InputError(f"refers to {name!r}, which is not the name of a file beside it; put it there")
        return self._family.get(name) or RemoteFile(self._beside(name), self._family)

    def open(self, mode: Literal["rb"] = "rb") -> BufferedReader:
        """Open the file for reading at any place.

        Raises:
            RemoteError: Here and in reads: it is not there, is not served to us or not in parts, or it has changed.

        """
        return open_ranges(self._ranges, self.version())

    def version(self) -> Version:
        """Return the version that was met first."""
        return self.ask() if self._version is None else self._version

    def ask(self) -> Version:
        """Ask the server which version is there; raises RemoteError, also if it is another one than before."""
        found = self._ranges.version()
        if self._version is None:
            self._version = found
        if difference := self._version.difference(found):
            raise changed(self, difference)
        return found

    def is_file(self) -> bool:
        """Return whether it is there and served to us."""
        try:
            self.version()
        except RemoteError:
            return False
        return True

    def is_dir(self) -> bool:
        """Return whether it is a folder, of which there are none at addresses."""
        return False

    @property
    def _object(self) -> ObjectPath:
        return ObjectPath.parse(self._address)

    @property
    def _ranges(self) -> Ranges:
        if self._address.startswith(_WEB):
            from pipeline.io.http import HttpRanges

            return HttpRanges(self._address)
        if not is_object(self._address):
            raise RemoteError(
                f"{self}: volumes are read from files, http(s), s3, gs and az; download it first, e.g. with `curl -LO`"
            )
        need_objects(self)
        from pipeline.io.objects import ObjectRanges

        return ObjectRanges(self._object)

    def _beside(self, name: str) -> str:
        if is_object(self._address):
            return f"{self._object.with_name(name)}"
        parts = urlsplit(self._address)
        return urlunsplit(parts._replace(path=parts.path.rpartition("/")[0] + "/" + quote(name)))

    def __str__(self) -> str:
        return redact_url(self._address)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteFile) and other._address == self._address

    def __hash__(self) -> int:
        return hash(self._address)


File = Path | RemoteFile


def need_objects(place: object) -> None:
    """Check that the library for object stores is installed; raises RemoteError."""
    try:
        need("objects", f"{place}")
    except RequestError as error:
        raise RemoteError(str(error), "unsuitable") from None


def size_of(file: File) -> int:
    """Return the bytes of a file. Raises OSError, or RemoteError."""
    return file.stat().st_size if isinstance(file, Path) else file.version().size


def beside(file: File, name: str) -> File:
    """Return the file that another one refers to: by a path from its folder, and at addresses by a name in it."""
    return file.parent / name if isinstance(file, Path) else file.with_name(name)


def version_words(file: RemoteFile) -> dict[str, Any]:
    """Return the name and the version of a file, as its server reports it now. Raises RemoteError."""
    return {"name": f"{file}", **file.ask().words()}
