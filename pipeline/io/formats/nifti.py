"""The record of NIfTI: one file, packed or not, or a pair of header and voxels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.engine import Source
from pipeline.files import signatures
from pipeline.geometry import Grid
from pipeline.io.address import is_remote
from pipeline.io.formats.described import described, described_info, sidecar_of
from pipeline.io.formats.format import Format, Input, MaskFormat, OpenOptions
from pipeline.io.mask import Mask, MaskLayer
from pipeline.io.remote_files import File
from pipeline.io.suffixes import suffix_of
from pipeline.io.volume.nifti_pairs import HEADERS, PAIRS, halves, parts

_SUFFIXES = (".nii", ".nii.gz")
_OF_PAIRS_ALONE = (".hdr", ".hdr.gz", ".img.gz")
"""Suffixes that GDAL opens no file by."""


def _matches(text: str) -> bool:
    """At an address a `.img` is left to GDAL: to tell what it is, a server would have to be asked."""
    suffix = suffix_of(text)
    if is_remote(text):
        return suffix in (*_SUFFIXES, *_OF_PAIRS_ALONE)
    return suffix in _SUFFIXES or (suffix in PAIRS and halves(Path(text)) is not None)


def _open(item: Input, options: OpenOptions) -> Source:
    from pipeline.io.volume.nifti import open_volume

    volume, keep_text = options.volume, options.keep_text
    return open_volume(item.file, affine=options.affine, volume=volume, keep_text=keep_text)


def _files(item: Input) -> tuple[File, ...]:
    return parts(item.file)


def _write(mask: Mask, path: Path) -> None:
    from pipeline.io.volume.nifti import write_nifti

    with described(mask, path) as before:
        write_nifti(path, mask.grid, mask.slabs(), mask.labels.dtype, before=before)


def _write_layer(layer: MaskLayer, path: Path) -> None:
    """Bands are the volumes of a 4-D file."""
    from pipeline.io.volume.nifti import write_nifti_layer

    with described(layer, path) as before:
        write_nifti_layer(path, layer.grid, layer.floats(), len(layer.bands), before)


def header_beside(
    grid: Grid, dtype: np.dtype[Any], *, channels: int = 1, scaling: tuple[float, float] | None = None
) -> bytes:
    """The NIfTI header that goes into the Zarr mask or layer of a volume; empty for that of a scene."""
    if grid.is_scene:
        return b""
    from pipeline.io.volume.nifti_write import header_block

    return header_block(grid, dtype, channels=channels, scaling=scaling)


NIFTI = Format(
    "NIfTI",
    matches=_matches,
    open=_open,
    kind="volume",
    suffixes=_SUFFIXES,
    unsure=HEADERS,
    takes=("volume",),
    kinds=(signatures.NIFTI, signatures.PACKED_NIFTI),
    files=_files,
    mask=MaskFormat(_write, described_info, _write_layer, sidecar=sidecar_of),
)
