"""The record of MetaImage: read, and never written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.engine import Source
from pipeline.files import signatures
from pipeline.io.formats.format import Format, Input, OpenOptions
from pipeline.io.suffixes import suffix_of

_SUFFIXES = (".mha", ".mhd")


def _matches(text: str) -> bool:
    return suffix_of(text) in _SUFFIXES


def _header(item: Input) -> Any:  # noqa: ANN401  (a header, of the package that reads it)
    from pipeline.io.volume.metaimage import read_metaimage

    return read_metaimage(item.path)


def _open(item: Input, options: OpenOptions) -> Source:
    from pipeline.io.volume.raw import open_raw

    return open_raw(item.path, item.header)


def _files(item: Input) -> tuple[Path, ...]:
    """The voxels of a `.mhd` are in a file of their own."""
    return tuple(dict.fromkeys((item.path, item.header.data))) if suffix_of(item.text) == ".mhd" else (item.path,)


METAIMAGE = Format(
    "MetaImage",
    matches=_matches,
    open=_open,
    kind="volume",
    suffixes=_SUFFIXES,
    local=True,
    kinds=(signatures.METAIMAGE,),
    header=_header,
    files=_files,
)
