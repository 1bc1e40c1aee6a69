"""See that a raster refers to no file or address that it may not: VRTs, overviews and masks can name any."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from rasterio.io import DatasetReader

from pipeline.errors import InputError
from pipeline.io.address import redact_url
from pipeline.io.places import Places, is_on_a_server

_DESCRIPTIONS = (".vrt", ".mrf")
"""Suffixes of files that describe a raster in XML."""
_GRIDS = (".asc", ".grd", ".xyz")
"""Suffixes of rasters that are text."""
_NAMES = re.compile(r"filename|dataset|dsname|dempath|rpc_dem|^(source|datafile|indexfile)$")
"""Elements, attributes and options that name a file, in lower case."""
_METADATA = {"overview_file", "x_dataset", "y_dataset"}
"""Keys of metadata for which GDAL opens a file."""
_BASE = ":::BASE:::"
"""The folder of the file itself, in a reference to overviews."""
_HEAD = 1024
_DEEPEST = 16
"""Descriptions that may refer to each other in a row."""


class _Reference(NamedTuple):
    name: str
    relative: bool


def check_file(address: str, places: Places, depth: int = 0) -> None:
    """Check a file before GDAL opens it: if it is a VRT, what it refers to, and that as well.

    Raises:
        InputError: It refers to what is not in `places`, or what is there is no raster.

    """
    path = Path(address)
    if path.suffix.lower() not in _DESCRIPTIONS or is_on_a_server(address) or not path.is_file():
        return
    if depth > _DEEPEST:
        raise InputError(f"{address}: refers to itself, or to more than {_DEEPEST} VRTs in a row")
    for found in check_description(path.read_bytes(), address, places):
        if not is_on_a_server(found):
            _check_head(Path(found), address)
            check_file(found, places, depth + 1)


def check_description(text: bytes | str, address: str, places: Places) -> list[str]:
    """Return the files and addresses that a VRT at `address` refers to.

    Raises:
        InputError: One of them is not in `places`.

    """
    try:
        references = list(dict.fromkeys(_references(ElementTree.fromstring(text))))
        return [_located(each, address, places) for each in references]
    except ElementTree.ParseError as error:
        raise InputError(f"{address}: is not valid XML ({error})") from error
    except ValueError as error:
        raise InputError(f"{redact_url(address)}: {error}") from error


def check_dataset(dataset: DatasetReader, address: str, places: Places) -> None:
    """Check an open raster for what was not looked at before: its overviews and masks, or a VRT on a server.

    Raises:
        InputError: It refers to what is not in `places`, or what is there is no raster.

    """
    if dataset.driver == "VRT" and is_on_a_server(address):
        check_description(dataset.tags(ns="xml:VRT")["xml:VRT"], address, places)
    if dataset.driver == "VRT" or is_on_a_server(address):
        return
    overviews = dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE", "")
    _check_others([overviews.replace(_BASE, f"{Path(address).parent}/")], address, places)
    _check_others(dataset.files, address, places)  # for which GDAL looks into the overviews


def _check_others(names: Sequence[str], address: str, places: Places) -> None:
    try:
        others = [
            name if _is_beside(name, address) else places.locate(name) for name in names if name and name != address
        ]
    except ValueError as error:
        raise InputError(f"{address}: {error}") from error
    for other in others:
        _check_sidecar(other, address, places)


def _is_beside(name: str, address: str) -> bool:
    """Return whether a file has the name of the raster, which may be an odd one, with something appended."""
    return name.startswith(f"{address}.") and "/" not in name[len(address) :]


def _check_sidecar(other: str, address: str, places: Places) -> None:
    if is_on_a_server(other):
        return
    path = Path(other)
    if b"<VRTDataset" in _head(path) and path.suffix.lower() not in _DESCRIPTIONS:
        raise InputError(f"{address}: {other} is a VRT, but is not named .vrt; rename or delete it")
    check_file(other, places)


def _located(reference: _Reference, address: str, places: Places) -> str:
    if reference.relative and is_on_a_server(address):
        return address
    return places.locate(reference.name, str(Path(address).parent) if reference.relative else "")


def _references(root: ElementTree.Element) -> Iterator[_Reference]:
    """Yield what any element or attribute of a VRT refers to; GDAL takes either, in any case."""
    for element in root.iter():
        words = {key.lower(): value for key, value in element.attrib.items()}
        relative = words.get("relativetovrt", "0") not in ("0", "")
        own = element.tag.lower() if isinstance(element.tag, str) else ""
        name = words.get("name", words.get("key", "")).lower()
        if _NAMES.search(own) or (own in ("argument", "option") and _NAMES.search(name)) or name in _METADATA:
            yield from (_Reference(text.strip(), relative) for text in _texts(element) if text.strip())
        yield from (_Reference(value, relative) for key, value in words.items() if _NAMES.search(key))


def _texts(element: ElementTree.Element) -> set[str]:
    """The text of an element as a whole, and its first piece."""
    return {element.text or "", "".join(element.itertext()) if not len(element) else ""}


def _check_head(path: Path, address: str) -> None:
    """Raise InputError for a source of a VRT that is text: a list of numbers, or the description of another."""
    head = _head(path)
    if path.suffix.lower() in (*_DESCRIPTIONS, *_GRIDS) or not head:
        return
    if b"<VRTDataset" in head or (b"\n" in head and b"\0" not in head and _is_text(head)):
        raise InputError(f"{address}: its source {path} is text, not a raster")


def _is_text(head: bytes) -> bool:
    try:
        head[: head.rindex(b"\n")].decode()
    except UnicodeDecodeError:
        return False
    return not re.search(rb"[\x00-\x08\x0e-\x1f]", head)


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(_HEAD)
