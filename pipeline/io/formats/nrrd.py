"""The record of NRRD, and of the segmentations of 3D Slicer: masks as `.nrrd` and `.seg.nrrd`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.classes import background_of
from pipeline.engine import Source
from pipeline.files import signatures
from pipeline.io.formats.described import described, described_info, sidecar_of
from pipeline.io.formats.format import Format, Input, MaskFormat, OpenOptions
from pipeline.io.mask import Mask
from pipeline.io.remote_files import File
from pipeline.io.suffixes import suffix_of
from pipeline.optional import need

_SUFFIXES = (".nrrd", ".nhdr")
_SEGMENTS = ".seg.nrrd"


def _matches(text: str) -> bool:
    return suffix_of(text) in (*_SUFFIXES, _SEGMENTS)


def _header(item: Input) -> Any:  # noqa: ANN401  (a header, of the package that reads it)
    need("nrrd", item.name)
    from pipeline.io.volume.nrrd import read_nrrd

    return read_nrrd(item.file)


def _open(item: Input, options: OpenOptions) -> Source:
    need("nrrd", item.name)
    from pipeline.io.volume.raw import open_raw

    return open_raw(item.file, item.header)


def _files(item: Input) -> tuple[File, ...]:
    """The voxels of a `.nhdr` are in a file of their own."""
    return tuple(dict.fromkeys((item.file, item.header.data))) if suffix_of(item.text) == ".nhdr" else (item.file,)


def _write(mask: Mask, path: Path) -> None:
    from pipeline.io.volume.nrrd_write import segments_of, write_nrrd

    background = background_of(mask.classes) or 0
    chosen = tuple(entry for entry in mask.classes if entry.value not in (background, mask.nodata))
    fields = segments_of(chosen, mask.grid.shape) if suffix_of(path) == _SEGMENTS else {}
    with described(mask, path) as before:
        write_nrrd(path, mask.grid, mask.slabs(), mask.labels.dtype, fields=fields, before=before)


NRRD = Format(
    "NRRD",
    matches=_matches,
    open=_open,
    kind="volume",
    suffixes=(*_SUFFIXES, _SEGMENTS),
    kinds=(signatures.NRRD,),
    header=_header,
    files=_files,
    mask=MaskFormat(_write, described_info, sidecar=sidecar_of, suffixes=(".nrrd", _SEGMENTS)),
)
