"""The record of one dataset of a file that holds several, by the name that GDAL gives it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.engine import Source
from pipeline.io.address import file_of_subdataset, is_subdataset, name_of
from pipeline.io.formats.format import Format, Input, OpenOptions


def _open(item: Input, options: OpenOptions) -> Source:
    from pipeline.io.raster import RasterSource

    return RasterSource(item.text, options.bands)


def _files(item: Input) -> tuple[Path, ...]:
    return (file_of_subdataset(item.text) or item.path,)


def _version(item: Input, series: str | None) -> dict[str, Any]:
    about = _files(item)[0].stat()
    return {"name": name_of(item.text), "bytes": about.st_size, "changed_ns": about.st_mtime_ns}


SUBDATASET = Format(
    "subdataset",
    matches=is_subdataset,
    open=_open,
    kind="scene",
    takes=("bands",),
    checked=False,
    files=_files,
    version=_version,
)
