"""Thumbnails of finished masks, a hundred to a picture beside the page: shards, so that a browser reads few of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.classes import ClassTable, background_of
from pipeline.engine import Source
from pipeline.errors import OutputError, PipelineError
from pipeline.evaluation.labels import unnamed_color
from pipeline.files.atomic import atomic_folder
from pipeline.geometry import Box
from pipeline.geometry.orientation import display_of
from pipeline.io.mask_files import check_mask, mask_info
from pipeline.io.opening import open_source
from pipeline.io.raster.encode import encode
from pipeline.reports.tiles import frame_of, shrunk
from pipeline.sources.shrink import middles, sampled

SIDE, ACROSS = 96, 10
"""Pixels of a side of a thumbnail, and thumbnails along a side of a shard."""
_SHARD = ACROSS * ACROSS
_AT_ONCE = 4
"""Masks that are read at once."""
_EMPTY = (128, 128, 128)
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Thumbnail:
    """A small picture of a mask, `(4, SIDE, SIDE)` with alpha, and the share of each class in it."""

    picture: Picture
    shares: dict[str, float]
    """About, by name: of the cells that the picture was made of."""


def thumbnails(masks: Sequence[Path | None]) -> Iterator[Thumbnail | None]:
    """Yield a thumbnail of each mask, in their order; None for none, and for one that cannot be read."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for first in range(0, len(masks), _SHARD):
            yield from pool.map(thumbnail_of, masks[first : first + _SHARD])


def thumbnail_of(mask: Path | None) -> Thumbnail | None:
    """Return a thumbnail of a mask: all of a scene, the slice in the middle of a volume, upright."""
    if mask is None:
        return None
    with suppress(PipelineError, OSError), closing(open_source(mask, affine="sform")) as source:
        check_mask(mask, source)
        info = mask_info(mask)
        labels, empty = (_scene if source.grid.is_scene else _slice)(source)
        empty = empty | (labels == info.nodata) if info.nodata is not None else empty
        return Thumbnail(_painted(labels, empty, info.classes), _shares(labels[~empty], info.classes))
    return None


def write_shards(folder: Path, pictures: Iterator[Picture]) -> None:
    """Write pictures into a folder, a shard for each hundred: `0000.webp` and so on; it replaces shards alone.

    Raises:
        OutputError: If there is something else in the folder, or it cannot be written.

    """
    check_shards(folder)
    with atomic_folder(folder) as draft:
        draft.mkdir(exist_ok=True)
        number = 0
        while some := list(islice(pictures, _SHARD)):
            (draft / f"{number:04d}.webp").write_bytes(encode(_sheet(some), "WEBP"))
            number += 1


def check_shards(folder: Path) -> None:
    """Raise OutputError if a folder has something other than shards, or is a file."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file, and thumbnails need a folder; give another --output")
    if others := sorted(path.name for path in folder.glob("*") if path.suffix != ".webp"):
        raise OutputError(f"{folder}: has {others[0]}, which is no thumbnail; give another --output")


def _sheet(some: Sequence[Picture]) -> Picture:
    rows = -(-len(some) // ACROSS)
    sheet = np.zeros((4, rows * SIDE, ACROSS * SIDE), np.uint8)
    for number, picture in enumerate(some):
        top, left = (place * SIDE for place in divmod(number, ACROSS))
        sheet[:, top : top + SIDE, left : left + SIDE] = picture
    return sheet


def _scene(source: Source) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Return the labels of a scene, and where nothing was observed."""
    values, valid = shrunk(source, frame_of(source.grid.shape, SIDE), sampled)
    return values[0], np.zeros(values.shape[1:], np.bool_) if valid is None else ~valid


def _slice(source: Source) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Return the labels of the slice in the middle of a volume, as it is shown."""
    depth, *lengths = source.grid.shape
    step = -(-max(lengths) // SIDE)
    cells = [middles(length, -(-length // step)) for length in lengths]
    middle = source.read(Box((depth // 2, 0, 0), (depth // 2 + 1, *lengths))).values[0, 0]
    shown = display_of(source.grid).show(middle[np.ix_(*cells)])
    return shown, np.zeros(shown.shape, np.bool_)


def _painted(labels: NDArray[np.generic], empty: NDArray[np.bool_], classes: ClassTable) -> Picture:
    """Return labels in the middle of a square, in their colors; the background is dark, nodata gray."""
    values, at = np.unique(labels, return_inverse=True)
    known = {entry.value: entry.color for entry in classes} | {background_of(classes): (20, 20, 20)}
    colors = np.array([known.get(value) or unnamed_color(number) for number, value in enumerate(values.tolist())])
    painted = np.where(empty, np.array(_EMPTY)[:, None, None], colors[at.reshape(labels.shape)].transpose(2, 0, 1))
    square = np.zeros((4, SIDE, SIDE), np.uint8)
    top, left = ((SIDE - length) // 2 for length in labels.shape)
    place = np.s_[top : top + labels.shape[0], left : left + labels.shape[1]]
    square[:3, *place], square[3, *place] = painted, 255
    return square


def _shares(labels: NDArray[np.generic], classes: ClassTable) -> dict[str, float]:
    names = {entry.value: entry.name for entry in classes}
    values, counts = np.unique(labels, return_counts=True)
    pairs = zip(values.tolist(), counts.tolist(), strict=True)
    return {names.get(value, str(value)): round(count / labels.size, 4) for value, count in pairs}
