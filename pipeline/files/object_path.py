"""Names of objects in object stores: which texts are such names, and what they consist of. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Self, TypeVar
from uuid import uuid4

from pipeline.errors import RequestError
from pipeline.files.scratch import scratch

_STORES = ("s3", "gs", "az")
_AS_PATHS = tuple(f"{scheme}:/" for scheme in _STORES)
_NAME = re.compile(rf"({'|'.join(_STORES)})://([^/]*)(?:/(.*))?", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class ObjectPath:
    """An object, or a prefix of objects: `s3://bucket/masks/scene.tif`.

    A run writes an object as a file in a folder of its own on this machine first.
    """

    scheme: str
    bucket: str
    key: str
    """What follows the bucket, exactly as the store has it; empty for the bucket itself."""
    run: str = field(default="", compare=False)
    """Name of the run that writes it; empty: nobody does."""
    part: str = field(default="", compare=False)
    """Name of the part of that run which a worker does; empty: the run itself."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the object or prefix that a text names; a slash at its end is left out.

        Raises:
            RequestError: If no object can have that name.

        """
        found = _NAME.fullmatch(text)
        if found is None or not found[2]:
            raise RequestError(f"{text}: is no name of an object; expected e.g. s3://bucket/masks/scene.tif")
        key = (found[3] or "").removesuffix("/")
        if why := _fault(found[2], key):
            raise RequestError(f"{text.rpartition('@')[2]!r}: {why}; give another name")
        return cls(found[1], found[2], key)

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    @property
    def parent(self) -> Self:
        """The prefix that it is in; that of a bucket is the bucket."""
        return replace(self, key=self.key.rpartition("/")[0])

    @property
    def parents(self) -> Iterator[Self]:
        """The prefixes that it is in, the nearest first."""
        here = self
        while here.key:
            here = here.parent
            yield here

    def with_name(self, name: str) -> Self:
        """Return the object of another name in the same prefix."""
        return self.parent / name

    def __truediv__(self, below: str | PurePath) -> Self:
        parts = [*filter(None, [self.key]), *PurePath(below).parts]
        return replace(self, key="/".join(parts))

    def is_relative_to(self, other: object) -> bool:
        """Return whether it is in the prefix `other`, or is that."""
        if not isinstance(other, ObjectPath) or (self.scheme, self.bucket) != (other.scheme, other.bucket):
            return False
        return not other.key or self.key == other.key or self.key.startswith(f"{other.key}/")

    def absolute(self) -> Self:
        """Return it as it is: there is nothing that it could be relative to."""
        return self

    def begun(self) -> Self:
        """Return the same object for a new run, with a folder of its own."""
        return replace(self, run=uuid4().hex)

    def apart(self) -> Self:
        """Return the same object for a part of its run, with a folder of its own."""
        return replace(self, part=uuid4().hex)

    @property
    def folder(self) -> Path:
        """Folder of its run, or part, in that of this process."""
        return scratch() / (self.part or self.run or "none")

    @property
    def here(self) -> Path:
        """The file of its run on this machine that becomes the object."""
        return self.folder / self.name

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"


OutputPath = Path | ObjectPath
"""Where an output is written."""
Place = TypeVar("Place", Path, ObjectPath, Path | ObjectPath)


def is_object(text: object) -> bool:
    """Return whether a text names an object or a prefix.

    >>> is_object("s3://bucket/masks/"), is_object("https://host/mask.tif"), is_object("masks")
    (True, False, False)
    """
    return _NAME.fullmatch(str(text)) is not None


def output_path(text: str) -> OutputPath:
    """Return where an output is written that a user names: an object, or a file here."""
    return ObjectPath.parse(text) if is_object(text) else Path(text)


def as_output(given: str | OutputPath) -> OutputPath:
    """Return where an output is written that a program names: as text, or as the path that `Path` makes of an address.

    >>> as_output(Path("s3://bucket/mask.tif"))
    ObjectPath(scheme='s3', bucket='bucket', key='mask.tif', run='', part='')
    """
    if isinstance(given, ObjectPath):
        return given
    text = str(given)
    if not isinstance(given, Path) or not text.startswith(_AS_PATHS):
        return output_path(text)
    scheme, *rest = given.parts
    return output_path(f"{scheme}//{'/'.join(rest)}")


def _fault(bucket: str, key: str) -> str:
    """Why no object can have this name, or why it would be a trap; empty if there is nothing wrong with it."""
    if odd := _CONTROL.search(bucket + key):
        return f"has the control character {odd[0]!r} in it"
    if any(part in (".", "..") for part in key.split("/")):
        return "has a part . or .., which object stores do not resolve"
    if key and not all(key.split("/")):
        return "has an empty part, two slashes in a row"
    return "has a user or a password in it" if "@" in bucket else ""
