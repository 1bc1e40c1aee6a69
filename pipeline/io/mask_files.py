"""Write masks and their layers in the format of a suffix, and read the metadata of masks."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from pipeline.engine import Source
from pipeline.errors import InputError, PipelineError, RequestError
from pipeline.files.object_path import OutputPath
from pipeline.geometry import Box, Grid
from pipeline.io.formats import Input, Kind, MaskFormat, OpenOptions, look, mask_format, mask_suffixes
from pipeline.io.formats.zarr import ZARR
from pipeline.io.mask import Mask, MaskInfo, MaskLayer
from pipeline.io.suffixes import suffix_of

__all__ = [
    "Mask",
    "MaskInfo",
    "MaskLayer",
    "check_mask",
    "check_output",
    "damage_of",
    "foreign_sidecar",
    "mask_info",
    "publish",
    "publish_layer",
    "sidecar_of",
    "takes_tiles",
]

_HINT = "give one that `pipeline run` made"
_DAMAGED = "unreadable"
"""Code of what cannot be read; other codes are of headers whose geometry is in doubt, as that of the input was."""


def publish(mask: Mask, path: Path) -> None:
    """Write a mask in the format of `path`'s suffix; it appears under its name when it is whole."""
    _format(mask.grid, path).write(mask, path)


def publish_layer(layer: MaskLayer, path: Path) -> None:
    """Write a layer in the format of `path`'s suffix; it appears under its name when it is whole."""
    write = _layer_writer(layer.grid, path)
    write(layer, path)


def _layer_writer(grid: Grid, path: OutputPath) -> Callable[[MaskLayer, Path], None]:
    """Return what writes layers beside a mask of `grid` in the format of `path`; RequestError if nothing does."""
    kind: Kind = "scene" if grid.is_scene else "volume"
    if (write := _format(grid, path).write_layer) is None:
        fitting = ", ".join(mask_suffixes(kind, layers=True))
        raise RequestError(
            f"{path}: layers of a {kind} are written as {fitting}; give such an --output, or leave out --layers"
        )
    return write


def check_output(grid: Grid, path: OutputPath, *, layers: bool = False) -> None:
    """Raise RequestError unless a mask of `grid`, and layers beside it, can be written in the format of `path`."""
    _format(grid, path)
    if layers:
        _layer_writer(grid, path)


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
    """Return why the mask or layer at `path` cannot be read, by its header and its end; empty if it can.

    It is told for what cannot be opened at all, too, which may be no mask.
    """
    item = look(path)
    try:
        with closing(_open_last(item)) as source:
            source.read(_last_blocks(source))
    except InputError as error:
        return str(error) if error.code == _DAMAGED else ""
    except (PipelineError, OSError) as error:
        return str(error)
    return ""


def _open_last(item: Input) -> Source:
    """Open a mask, or the last band of a layer whose bands are the volumes of a file."""
    try:
        return item.format.open(item, OpenOptions(affine="sform"))
    except InputError as error:
        if error.code != "4d":
            raise
    with closing(item.format.open(item, OpenOptions(affine="sform", volume=item.first_volume))) as first:
        last = first.info.volumes - 1
    return item.format.open(item, OpenOptions(affine="sform", volume=last))


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


def sidecar_of(path: Path) -> Path | None:
    """Return the file that describes the mask or layer at `path`; None for formats that need none."""
    found = mask_format(path)
    return None if found is None or found.sidecar is None else found.sidecar(path)


def foreign_sidecar(path: Path) -> Path | None:
    """Return the sidecar of a mask or layer at `path` if it exists already and was written by another program."""
    if (beside := sidecar_of(path)) is None or not beside.exists():
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
