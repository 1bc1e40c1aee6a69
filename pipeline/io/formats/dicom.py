"""The records of DICOM: a folder of CT or MR images, a zip of one, and one file of many frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.engine import Source
from pipeline.errors import InputError
from pipeline.io.address import is_remote
from pipeline.io.dicom.files import is_dicom, names_inside
from pipeline.io.formats.format import Format, Input, OpenOptions
from pipeline.io.remote_files import File, RemoteFile, version_words
from pipeline.io.suffixes import suffix_of
from pipeline.optional import need

_RASTERS = (".tif", ".tiff")
"""Suffixes whose files are left to GDAL without a look."""


def _matches(text: str) -> bool:
    """At an address a zip is known by its name alone: to tell what is in it, a server would have to be asked."""
    path = Path(text)
    if is_remote(text):
        return suffix_of(text) == ".zip" and not text.startswith("/vsizip/")
    return (path.is_dir() or path.suffix.lower() == ".zip") and is_dicom(path)


def _is_file(text: str) -> bool:
    """Whether a file that no name says more of is DICOM."""
    path = Path(text)
    return not is_remote(text) and suffix_of(path) not in _RASTERS and path.is_file() and is_dicom(path)


def _open(item: Input, options: OpenOptions) -> Source:
    need("dicom", item.name)
    from pipeline.io.dicom.source import DicomSource

    return DicomSource(item.file, options.series, item.header)


def _open_frames(item: Input, options: OpenOptions) -> Source:
    need("dicom", item.name)
    if len(item.header) == 1:
        raise InputError(f"{item.name}: is a single DICOM file; give the folder that holds its series")
    return _open(item, options)


def _header(item: Input) -> Any:  # noqa: ANN401  (slices, of the package that reads them)
    from pipeline.io.dicom.source import slices_of

    return slices_of(item.file)


def _files(item: Input) -> tuple[File, ...]:
    """All in the folder: one that is written again in its place leaves the folder's date as it was."""
    if item.remote or not item.path.is_dir():
        return (item.file,)
    return tuple(sorted(file for file in item.path.iterdir() if file.is_file()))


def _members(item: Input) -> Sequence[str]:
    return names_inside(item.file)


def _series(item: Input) -> Sequence[str]:
    """Headers are dropped at once: an archive may hold thousands of folders."""
    from pipeline.io.dicom.source import slices_of

    return [one.series for one in slices_of(item.file)]


def _version(item: Input, series: str | None) -> dict[str, Any]:
    from pipeline.io.dicom.source import series_version

    file = item.file
    told = version_words(file) if isinstance(file, RemoteFile) else {"name": file.name}
    return {**told, **series_version(file, series, item.header)}


DICOM = Format(
    "DICOM",
    matches=_matches,
    open=_open,
    kind="volume",
    gathers=True,
    takes=("series",),
    header=_header,
    files=_files,
    members=_members,
    series=_series,
    version=_version,
)

DICOM_FILE = replace(DICOM, matches=_is_file, open=_open_frames)
