"""The record of NIfTI: one file, packed or not, or a pair of header and voxels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.classes import class_table_of, rows_of
from pipeline.engine import Source
from pipeline.files import signatures
from pipeline.files.atomic import atomic_write
from pipeline.geometry import Grid
from pipeline.io.formats.format import Format, Input, MaskFormat, OpenOptions
from pipeline.io.mask import Mask, MaskInfo
from pipeline.io.suffixes import stem_of, suffix_of
from pipeline.io.volume.nifti_pairs import HEADERS, PAIRS, halves, parts

_SUFFIXES = (".nii", ".nii.gz")


def _matches(text: str) -> bool:
    suffix = suffix_of(text)
    return suffix in _SUFFIXES or (suffix in PAIRS and halves(Path(text)) is not None)


def _open(item: Input, options: OpenOptions) -> Source:
    from pipeline.io.volume.nifti import open_volume

    volume, keep_text = options.volume, options.keep_text
    return open_volume(item.path, affine=options.affine, volume=volume, keep_text=keep_text)


def _files(item: Input) -> tuple[Path, ...]:
    return parts(item.path)


def _sidecar(path: Path) -> Path:
    return path.with_name(stem_of(path) + ".json")


def _write(mask: Mask, path: Path) -> None:
    from pipeline.io.volume.nifti import write_nifti

    beside = {"labels": rows_of(mask.classes), "nodata": mask.nodata, "made": mask.provenance, **mask.sidecar_extra}

    def describe() -> None:
        """Remove an older volume first: the new sidecar does not describe it."""
        path.unlink(missing_ok=True)
        with atomic_write(_sidecar(path)) as draft:
            draft.write_text(json.dumps(beside, indent=1) + "\n", encoding="utf-8")

    try:
        write_nifti(path, mask.grid, mask.slabs(), mask.labels.dtype, before=describe)
    except BaseException:
        if not path.exists():
            _sidecar(path).unlink(missing_ok=True)
        raise


def _info(path: Path) -> MaskInfo:
    beside = json.loads(_sidecar(path).read_text(encoding="utf-8"))
    return MaskInfo(beside["nodata"], class_table_of(beside["labels"]), beside["made"])


def header_beside(grid: Grid, dtype: np.dtype[Any]) -> bytes:
    """The NIfTI header that goes into the Zarr mask of a volume; empty for that of a scene."""
    if grid.is_scene:
        return b""
    from pipeline.io.volume.nifti_write import header_block

    return header_block(grid, dtype)


NIFTI = Format(
    "NIfTI",
    matches=_matches,
    open=_open,
    kind="volume",
    suffixes=_SUFFIXES,
    unsure=HEADERS,
    takes=("volume",),
    local=True,
    kinds=(signatures.NIFTI, signatures.PACKED_NIFTI),
    files=_files,
    mask=MaskFormat(_write, _info, sidecar=_sidecar),
)
