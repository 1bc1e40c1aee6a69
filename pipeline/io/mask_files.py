"""Write masks and their layers in the format of a suffix, and read the metadata of masks."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.engine import Source
from pipeline.errors import InputError, PipelineError, RequestError
from pipeline.files.object_path import OutputPath
from pipeline.geometry import Box, Grid
from pipeline.io.formats import Kind, MaskFormat, OpenOptions, look, mask_format, mask_suffixes
from pipeline.io.formats.zarr import ZARR
from pipeline.io.mask import LayerRecord, Mask, MaskInfo
from pipeline.io.suffixes import suffix_of

__all__ = [
    "Mask",
    "MaskInfo",
    "check_mask",
    "check_output",
    "damage_of",
    "foreign_sidecar",
    "mask_info",
    "publish",
    "publish_layer",
    "takes_tiles",
]

_HINT = "give one that `pipeline run` made"
_DAMAGED = "unreadable"
"""Code of what cannot be read; other codes are of headers whose geometry is in doubt, as that of the input was."""


def publish(mask: Mask, path: Path) -> None:
    """Write a mask in the format of `path`'s suffix; it appears under its name when it is whole."""
    _format(mask.grid, path).write(mask, path)


def publish_layer(
    store: Path, path: Path, *, bands: Sequence[str], scaling: tuple[float, float] | None, provenance: Mapping[str, Any]
) -> None:
    """Write the layer in `store` in the format of `path`'s suffix; it appears under its name when it is whole."""
    found = mask_format(path)
    if found is None or found.write_layer is None:
        raise RequestError(f"{path}: layers are only written for scenes, as .tif or .zarr")
    found.write_layer(store, path, LayerRecord(tuple(bands), scaling, provenance))


def check_output(grid: Grid, path: OutputPath) -> None:
    """Raise RequestError unless a mask of `grid` can be written in the format of `path`."""
    _format(grid, path)


def takes_tiles(grid: Grid, path: Path) -> bool:
    """Return whether a mask of `grid` takes over the chunks of its work store, if they are tiles."""
    return _format(grid, path).tiled and sys.byteorder == "little"


def mask_info(path: str | Path) -> MaskInfo:
    """Return the metadata of the mask at `path`; an empty `MaskInfo` without metadata, or if it is not a mask."""
    found = ZARR.mask if (Path(path) / "zarr.json").is_file() else mask_format(path)
    try:
        return MaskInfo() if found is None else found.info(Path(path))
    except (KeyError, ValueError, InputError, OSError):
        return MaskInfo()


def damage_of(path: str | Path) -> str:
    """Return why the mask at `path` cannot be read, by its header and its last rows or slices; empty if it can.

    It is told for what cannot be opened at all, too, which may be no mask.
    """
    item = look(path)
    try:
        with closing(item.format.open(item, OpenOptions(affine="sform"))) as source:
            source.read(_last_blocks(source))
    except InputError as error:
        return str(error) if error.code == _DAMAGED else ""
    except (PipelineError, OSError) as error:
        return str(error)
    return ""


def _last_blocks(source: Source) -> Box:
    """The end of a raster or volume, which is also the end of its file: what was cut lacks it."""
    rows = source.grid.shape[0]
    return Box(
        ((rows - 1) // source.block[0] * source.block[0], *(0 for _ in source.grid.shape[1:])), source.grid.shape
    )


def check_mask(path: str | Path, source: Source, kind: Kind | None = None, hint: str = _HINT) -> None:
    """Raise InputError unless `source`, opened from `path`, holds the labels of a mask, of a scene or volume if given.

    `hint` is the way out, for the message.
    """
    fits = kind is None or source.grid.is_scene == (kind == "scene")
    if not fits or source.channels != 1 or source.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"{path}: is not a mask{'' if kind is None else f' of a {kind}'}, but {source.channels} channels of "
            f"{source.dtype} on axes {', '.join(source.grid.axes)}; expected one of uint8 or uint16: {hint}",
            code="unsuitable",
        )


def foreign_sidecar(path: Path) -> Path | None:
    """Return the sidecar of a mask at `path` if it exists already and was written by another program."""
    found = mask_format(path)
    if found is None or found.sidecar is None or not (beside := found.sidecar(path)).exists():
        return None
    try:
        ours = "made" in json.loads(beside.read_text(encoding="utf-8"))
    except (ValueError, TypeError):
        ours = False
    return None if ours else beside


def _format(grid: Grid, path: OutputPath) -> MaskFormat:
    kind: Kind = "scene" if grid.is_scene else "volume"
    found = mask_format(path, kind)
    if found is None:
        fitting, said = ", ".join(mask_suffixes(kind)), suffix_of(path) or "without a suffix"
        raise RequestError(f"{path}: a mask of a {kind} is written as {fitting}, not {said}")
    return found
