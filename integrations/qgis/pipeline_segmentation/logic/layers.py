"""What the command is given for a layer: its file, if it has one."""

from __future__ import annotations

import os
import re

from .errors import LayerError

_OPTION = re.compile(r"\|(option:|layername=|layerid=|subset=|geometrytype=|uniqueGeometryType=|authcfg=|credential:)")
"""Where the path in a layer's source ends, and QGIS' own words about it begin; a path may hold other bars."""
_IN_MEMORY = "/vsimem/"
_ADDRESS = re.compile(r"[A-Za-z][\w+.-]+:")
"""An address, or GDAL's name of a dataset in a file; a drive has one letter."""
_SERVICES = {
    "wms": "a map service: it sends pictures, at whatever scale they are asked for",
    "arcgismapserver": "a map service: it sends pictures, at whatever scale they are asked for",
    "wcs": "a coverage service",
    "postgresraster": "a table of a database",
}
_SAVE = "save it as a GeoTIFF (right click, Export, Save As) and take that layer"


def file_of(provider: str, source: str, name: str) -> str | None:
    """Return what the command opens for a raster layer: a path, an address, or GDAL's name of a dataset in a file.

    Args:
        provider: Name of the layer's provider: gdal, wms, ...
        source: The layer's source.
        name: The layer's name, for messages.

    Returns:
        None if the layer is in QGIS' memory, or computed by QGIS: it has to be saved first.

    Raises:
        LayerError: If it comes from a service, so that its pixels or its size are not known.

    """
    if provider in _SERVICES:
        raise LayerError(f"the layer {name} comes from {_SERVICES[provider]}, so there is no file to read; {_SAVE}")
    path = without_options(source)
    if provider != "gdal" or path.startswith(_IN_MEMORY):
        return None
    return path if is_address(path) else os.path.abspath(path)  # noqa: PTH100  (keeps the path's text)


def is_address(path: str) -> bool:
    """Return whether a source is an address or a name for GDAL rather than a plain path.

    >>> [is_address(path) for path in ("/vsizip//a b.zip/x.tif", "GPKG:/a.gpkg:t", "C:/a.tif", "a.tif")]
    [True, True, False, False]
    """
    return path.startswith("/vsi") or bool(_ADDRESS.match(path))


def without_options(source: str) -> str:
    """Return a source without what QGIS adds to a path: open options, or the name of a layer in the file.

    >>> without_options("/a|b.tif|option:NUM_THREADS=2"), without_options("x.gpkg|layername=zones")
    ('/a|b.tif', 'x.gpkg')
    """
    found = _OPTION.search(source)
    return source[: found.start()] if found else source


def open_options(source: str) -> str:
    """Return the open options in a source, which the command does not have; empty: there are none."""
    return ", ".join(re.findall(r"\|option:([^|]*)", source))
