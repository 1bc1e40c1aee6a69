"""The record of MetaImage: masks as `.mha`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.engine import Source
from pipeline.files import signatures
from pipeline.io.formats.described import described, described_info, sidecar_of
from pipeline.io.formats.format import Format, Input, MaskFormat, OpenOptions
from pipeline.io.mask import Mask
from pipeline.io.remote_files import File
from pipeline.io.suffixes import suffix_of

_SUFFIXES = (".mha", ".mhd")


def _matches(text: str) -> bool:
    return suffix_of(text) in _SUFFIXES


def _header(item: Input) -> Any:  # noqa: ANN401  (a header, of the package that reads it)
    from pipeline.io.volume.metaimage import read_metaimage

    return read_metaimage(item.file)


def _open(item: Input, options: OpenOptions) -> Source:
    from pipeline.io.volume.raw import open_raw

    return open_raw(item.file, item.header)


def _files(item: Input) -> tuple[File, ...]:
    """The voxels of a `.mhd` are in a file of their own."""
    return tuple(dict.fromkeys((item.file, item.header.data))) if suffix_of(item.text) == ".mhd" else (item.file,)


def _write(mask: Mask, path: Path) -> None:
    from pipeline.io.volume.metaimage_write import write_metaimage

    with described(mask, path) as before:
        write_metaimage(path, mask.grid, mask.slabs(), mask.labels.dtype, before=before)


METAIMAGE = Format(
    "MetaImage",
    matches=_matches,
    open=_open,
    kind="volume",
    suffixes=_SUFFIXES,
    kinds=(signatures.METAIMAGE,),
    header=_header,
    files=_files,
    mask=MaskFormat(_write, described_info, sidecar=sidecar_of, suffixes=(".mha",)),
)
