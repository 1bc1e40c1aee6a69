"""The record of NRRD: read, and never written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.engine import Source
from pipeline.files import signatures
from pipeline.io.formats.format import Format, Input, OpenOptions
from pipeline.io.suffixes import suffix_of
from pipeline.optional import need

_SUFFIXES = (".nrrd", ".nhdr")


def _matches(text: str) -> bool:
    return suffix_of(text) in _SUFFIXES


def _header(item: Input) -> Any:  # noqa: ANN401  (a header, of the package that reads it)
    need("nrrd", item.text)
    from pipeline.io.volume.nrrd import read_nrrd

    return read_nrrd(item.path)


def _open(item: Input, options: OpenOptions) -> Source:
    need("nrrd", item.text)
    from pipeline.io.volume.raw import open_raw

    return open_raw(item.path, item.header)


def _files(item: Input) -> tuple[Path, ...]:
    """The voxels of a `.nhdr` are in a file of their own."""
    return tuple(dict.fromkeys((item.path, item.header.data))) if suffix_of(item.text) == ".nhdr" else (item.path,)


NRRD = Format(
    "NRRD",
    matches=_matches,
    open=_open,
    kind="volume",
    suffixes=_SUFFIXES,
    local=True,
    kinds=(signatures.NRRD,),
    header=_header,
    files=_files,
)
