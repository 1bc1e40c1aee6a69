"""Addresses of inputs: which kind they are, their names, and how to show them without secrets."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable
from itertools import takewhile
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from pipeline.errors import RequestError
from pipeline.files.object_path import ObjectPath, is_object

MOSAIC = "mosaic:"
"""Prefix of a folder or a pattern of tiles that are one scene."""
STACK = "stack:"
"""Prefix of rasters that are the bands of one scene: `name=` and a file or address of each, separated by `|`."""
_SUBDATASET = re.compile(r"[A-Za-z]\w+:(?!//)")
"""Prefix of GDAL's name of a dataset in a file: the driver."""
_SIGNING = ("x-amz-", "x-goog-", "x-oss-")
_SECRET = re.compile(
    r"(.*[-_])?(token|secret|sig|signature|auth|password|pwd|credentials?|policy|expires|apikey|accesskeyid)"
    r"|(.*[-_])?(api|access|subscription)[-_]key|awsaccesskeyid|key-pair-id",
    re.IGNORECASE,
)
_LEAST = 4
"""Fewest letters of a secret to replace in messages: shorter ones occur in ordinary words."""
_SAS = frozenset(
    ["sv", "ss", "srt", "sp", "se", "st", "spr", "sip", "sr", "skoid", "sktid", "skt", "ske", "sks", "skv"]
)
"""Parameters that come with Azure's `sig` and change with it; alone they mean something else."""


def is_remote(path: str | Path) -> bool:
    """Return whether an input is an address for GDAL rather than a local file."""
    if is_stack(path) or is_subdataset(path):
        return False
    return "://" in str(path) or str(path).startswith("/vsi")


def is_mosaic(path: str | Path) -> bool:
    """Return whether an input is a folder or a pattern of tiles that are one scene."""
    return str(path).startswith(MOSAIC)


def is_stack(path: str | Path) -> bool:
    """Return whether an input is several rasters that are the bands of one scene."""
    return str(path).startswith(STACK)


def is_subdataset(path: str | Path) -> bool:
    """Return whether an input is one dataset of a file, by the name that GDAL gives it: `NETCDF:x.nc:Band1`."""
    return file_of_subdataset(path) is not None


def file_of_subdataset(path: str | Path) -> Path | None:
    """Return the file that a dataset is in; None for anything but GDAL's name of a dataset in a file that exists."""
    text = str(path)
    found = _SUBDATASET.match(text)
    if found is None or is_mosaic(text) or is_stack(text) or Path(text).exists():
        return None
    parts = text[found.end() :].split(":")
    spans = ((first, last) for first in range(len(parts)) for last in range(len(parts), first, -1))
    files = (Path(":".join(parts[first:last]).strip('"')) for first, last in spans)
    return next((file for file in files if file.is_file()), None)


def is_path(path: str | Path) -> bool:
    """Return whether an input is a local path or a pattern of paths: not an address, a dataset, mosaic or stack."""
    return not (is_remote(path) or is_mosaic(path) or is_stack(path) or is_subdataset(path))


def parts_of_stack(path: str | Path) -> list[tuple[str, str]]:
    """Return the name and the file or address of each raster of a stack.

    Raises:
        RequestError: A raster has no name.

    """
    parts = [part.partition("=") for part in str(path).removeprefix(STACK).split("|")]
    if not all(name and address for name, _, address in parts):
        raise RequestError(f"{path}: each raster of a stack needs a name, e.g. 'stack:red=B04.tif|nir=B08.tif'")
    return [(name.strip(), address) for name, _, address in parts]


def stack_of(parts: Iterable[tuple[str, str]]) -> str:
    """Return the stack of rasters with these names and files or addresses."""
    return STACK + "|".join(f"{name}={address}" for name, address in parts)


def with_paths(text: str, change: Callable[[str], str]) -> str:
    """Apply `change` to each path in an input, including a mosaic's pattern and a stack's files, but not addresses."""
    if is_mosaic(text):
        return MOSAIC + with_paths(text.removeprefix(MOSAIC), change)
    if is_stack(text):
        return stack_of((name, with_paths(part, change)) for name, part in parts_of_stack(text))
    if (file := file_of_subdataset(text)) is not None:
        return text.replace(str(file), change(str(file)), 1)
    return text if is_remote(text) else change(text)


def folder_of_tiles(path: str | Path) -> Path:
    """Return the folder of the tiles of a mosaic: of a pattern, the part before its first wildcard."""
    named = Path(str(path).removeprefix(MOSAIC))
    return Path(*takewhile(lambda part: not glob.has_magic(part), named.parts))


def output_folder(path: str | Path) -> Path:
    """Return the folder for outputs of an input: that of the file or of the folder of tiles, else the current one."""
    if is_stack(path):
        return output_folder(parts_of_stack(path)[0][1])
    if is_remote(path):
        return Path()
    if (file := file_of_subdataset(path)) is not None:
        return file.parent
    return (folder_of_tiles(path) if is_mosaic(path) else Path(path)).parent


def as_utf8(name: str) -> str:
    r"""Return a name whose bytes are not UTF-8 with escapes in their place; any other unchanged.

    >>> as_utf8("caf\udce9.tif")
    'caf\\xe9.tif'
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def redact_url(address: str | Path) -> str:
    """Return an address without user, password and parameters that sign a request; anything else unchanged.

    Two signatures of one object give the same text, so it also identifies an input.
    """
    if is_stack(address):
        return stack_of((name, redact_url(part)) for name, part in parts_of_stack(address))
    if is_subdataset(address) or (is_object(address) and "@" not in str(address)):
        return str(address)
    head, parts = _split(str(address))
    if parts is None:
        return str(address)
    asked = parse_qsl(parts.query, keep_blank_values=True)
    secrets = _secrets(parts)
    kept = [(name, value) for name, value in asked if name not in secrets]
    query = parts.query if kept == asked else urlencode(kept)
    return head + urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=query))


def redact(text: str, address: str | Path = "") -> str:
    """Return a message with its addresses redacted, and without any secret of `address`."""
    text = re.sub(r"[^\s'\"(),]+://[^\s'\"(),]+", lambda found: redact_url(found[0]), text)
    _, parts = _split(str(address))
    if parts is None:
        return text
    secrets = [value for value in _secrets(parts).values() if value]
    secrets += parts.netloc.rpartition("@")[0].split(":")
    for secret in (parts.query, *secrets) if any(secrets) else ():
        text = text.replace(secret, "...") if len(secret) >= _LEAST else text
    return text


def name_of(path: str | Path | ObjectPath) -> str:
    """Return the name of a file, of a folder of tiles, or of the object at an address, without parameters."""
    if isinstance(path, ObjectPath):
        return path.name
    if is_stack(path):
        return name_of(parts_of_stack(path)[0][1])
    if is_mosaic(path):
        return folder_of_tiles(path).resolve().name
    if (file := file_of_subdataset(path)) is not None:
        return _name_of_subdataset(str(path), file)
    if is_object(path):
        return str(path).removesuffix("/").rpartition("/")[2]
    _, parts = _split(str(path))
    return _last_part(path) if parts is None else unquote(PurePosixPath(parts.path).name)


def _last_part(path: str | Path) -> str:
    """Return `Path(path).name`, of thousands of texts in a fraction of the time."""
    last = path.name if isinstance(path, Path) else os.path.basename(path)  # noqa: PTH119
    return last if last not in ("", ".") else Path(path).name


def _name_of_subdataset(text: str, file: Path) -> str:
    """`x_Band1.nc` of `NETCDF:x.nc:Band1`."""
    _, _, inside = text.replace(str(file), "", 1).partition(":")
    return "_".join([file.stem, *re.findall(r"\w+", inside)]) + file.suffix


def _secrets(parts: SplitResult) -> dict[str, str]:
    """Return the parameters of an address that give access, and those that come with them."""
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    azure = _SAS if "sig" in asked else frozenset()
    return {name: value for name, value in asked.items() if name in azure or _secret(name)}


def _secret(name: str) -> bool:
    return name.lower().startswith(_SIGNING) or _SECRET.fullmatch(name) is not None


def _split(address: str) -> tuple[str, SplitResult | None]:
    """Return the prefix of an address, e.g. `/vsicurl/`, and its parts; None for a file."""
    scheme = address.find("://")
    if scheme < 0:
        return address, None
    start = address.rfind("/", 0, scheme) + 1
    return address[:start], urlsplit(address[start:])
