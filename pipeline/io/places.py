"""Where the files may lie that an input refers to: beside it, at addresses of its own kind, or where the user allows.

Standard library only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.io.address import file_of_subdataset, redact_url

ALLOW = "PIPELINE_ALLOW"
"""Environment variable with what is always allowed, separated by commas."""
_FILE_SYSTEMS = {
    "vsicurl": "http",
    "vsis3": "s3",
    "vsigs": "gs",
    "vsiaz": "az",
    "vsiadls": "adls",
    "vsioss": "oss",
    "vsiswift": "swift",
}
"""Scheme of each of GDAL's file systems for servers."""
SCHEMES = frozenset({"https", "file", *_FILE_SYSTEMS.values()})
_PREFIX = re.compile(r"([A-Za-z][A-Za-z0-9+._-]+):")
_CONTAINERS = re.compile(r"^(vrt://|/vsi(zip|tar|gzip|7z|rar|subfile|cached|crypt|sparse)/)+")
_ODD = re.compile(r"[\x00-\x1f\x7f|]")
"""Characters that no reference may have: control characters, and what separates the parts of a stack."""


def scheme_of(reference: str) -> str:
    """Return the scheme of an address as a user would name it; empty for a local path.

    >>> [scheme_of(each) for each in ("a/b.tif", "HTTPS://host/a.tif", "/vsis3/bucket/a.tif", "NETCDF:a.nc:t")]
    ['', 'https', 's3', 'netcdf']
    """
    if reference.startswith("/vsi"):
        system, _, rest = reference[1:].partition("/")
        inner = scheme_of(rest) if system == "vsicurl" else ""
        return inner or _FILE_SYSTEMS.get(system.removesuffix("_streaming"), system)
    found = _PREFIX.match(reference)
    return found[1].lower() if found else ""


def is_on_a_server(address: str) -> bool:
    """Return whether reading an address may need the network: not a file, also inside an archive."""
    inner = _CONTAINERS.sub("", address)
    return "://" in inner or "/vsi" in inner


@dataclass(frozen=True)
class Places:
    """Schemes and folders in which the files may lie that an input refers to."""

    schemes: frozenset[str]
    folders: tuple[Path, ...]
    """Absolute, without links resolved."""

    @property
    def network(self) -> bool:
        """Whether any address is allowed."""
        return bool(self.schemes - {"file"})

    def locate(self, reference: str, folder: str = "") -> str:
        """Return the address that an input refers to, or the absolute path; a relative one counts from `folder`.

        Raises:
            ValueError: It is not allowed; the message says how to allow it.

        """
        if _ODD.search(reference) or reference.lstrip()[:1] in ("<", "{"):
            raise ValueError(f"refers to {reference[:60]!r}, which is not the name of a file")
        scheme = scheme_of(reference)
        if scheme and scheme != "file":
            return self._address(reference, scheme)
        return self._path(unquote(urlsplit(reference).path) if scheme else reference, folder)

    def _address(self, reference: str, scheme: str) -> str:
        if scheme not in self.schemes:
            name = scheme if scheme in SCHEMES else f"{scheme}:"
            raise ValueError(f"refers to {redact_url(reference)}; --allow {name} allows it to")
        return reference

    def _path(self, name: str, folder: str) -> str:
        path = _absolute(Path(folder, name))
        if "file" not in self.schemes and not any(map(path.is_relative_to, self.folders)):
            raise ValueError(f"refers to {name}, which is outside of its folder; --allow {path.parent} allows it to")
        return str(path)


def places_of(home: str, allow: Iterable[str] = ()) -> Places:
    """Return the places for what lies at `home`: its folder or its scheme, and those in `allow`.

    Each in `allow`, and in the environment variable PIPELINE_ALLOW, is a scheme (https, s3, or file for any file) or a
    folder.
    """
    home = str(file_of_subdataset(home) or home)
    always = [word for word in os.environ.get(ALLOW, "").split(",") if word]
    named = [(word, scheme_in(word)) for word in (*allow, *always)]
    schemes = {scheme for _, scheme in named if scheme}
    folders = [_absolute(Path(word).expanduser()) for word, scheme in named if not scheme]
    own = scheme_of(home) if is_on_a_server(home) else ""
    if own:
        schemes |= {own, "https"} if own == "http" else {own}
    else:
        folders.insert(0, _absolute(Path(home).parent))
    return Places(frozenset(schemes), tuple(folders))


def scheme_in(word: str) -> str:
    """Return the scheme that a word of `allow` stands for; empty if it is a folder.

    >>> scheme_in("https"), scheme_in("netcdf:"), scheme_in("/data/https")
    ('https', 'netcdf', '')
    """
    name = word.lower().removesuffix("//").removesuffix(":")
    return name if name in SCHEMES or word.endswith((":", "://")) else ""


def _absolute(path: Path) -> Path:
    return Path(normpath(path.absolute()))
