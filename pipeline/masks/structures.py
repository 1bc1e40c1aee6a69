"""Measure the structures of a volume's mask: volume, intensities, and whether the scan cuts them off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.classes import ClassTable
from pipeline.engine import Source
from pipeline.errors import InputError, RequestError
from pipeline.geometry import Box, Grid
from pipeline.geometry.grid import difference
from pipeline.io.mask_files import check_mask, mask_info
from pipeline.io.opening import open_source
from pipeline.io.tables import write_rows
from pipeline.masks.image import open_image
from pipeline.sources.passes import slabs
from pipeline.sources.statistics import keys_of, value_of
from pipeline.sources.validity import is_plausible

_HALF = 1 << 16


@dataclass(frozen=True)
class Structure:
    """A class of a volume's mask, measured."""

    value: int
    name: str
    voxels: int
    ml: float
    """Volume in milliliters."""
    touches_border: bool
    """Whether it reaches the end of the scan, and so may continue outside: its volume is then a lower bound."""
    mean: float | None = None
    """Mean of the image, in its own units; None without an image, or without a voxel."""
    median: float | None = None


@dataclass
class _ClassAccumulator:
    """Counts and sums of a class so far."""

    voxels: int = 0
    border: bool = False
    total: float = 0.0
    halves: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_HALF, np.int64))
    """Voxels by the upper half of their key."""


def measure(
    mask: str | Path, image: str | Path | None = None, volume: int | None = None, *, affine: str = "strict"
) -> list[Structure]:
    """Measure the structures of a volume's mask, and their intensities in `image`.

    Non-finite voxels of the image are left out. Medians are exact, in float32: a second pass reads the values near
    them.

    Args:
        mask: The mask of a volume.
        image: The volume that the mask was made from, on the same grid; None: intensities are not measured.
        volume: Number, from 0, of the volume in a 4-D image.
        affine: What holds where sform and qform of the mask disagree: "sform", "qform", or "strict" for neither.

    Raises:
        InputError: If it is not the mask of a volume, or if the grids differ.

    """
    labels = open_source(mask, affine=affine)
    try:
        scan = open_image(image, volume)
    except BaseException:
        labels.close()
        raise
    try:
        _check(mask, labels, image, scan)
        info = mask_info(mask)
        seen = _first_pass(labels, scan, info.nodata)
        medians = {} if scan is None else _second_pass(labels, scan, seen)
        return _rows(seen, medians, info.classes, labels.grid, measured=scan is not None)
    finally:
        for source in (labels, scan):
            if source is not None:
                source.close()


def write_csv(path: Path, found: Sequence[Structure]) -> None:
    """Write structures as a table.

    Raises:
        RequestError: If the suffix is not `.csv`.

    """
    if path.suffix.lower() != ".csv":
        raise RequestError(f"{path}: the table is written as CSV; give --output a name that ends in .csv")
    write_rows(path, [column.name for column in fields(Structure)], map(astuple, found))


def _check(mask: str | Path, labels: Source, image: str | Path | None, scan: Source | None) -> None:
    check_mask(mask, labels, "volume", "`pipeline areas` measures masks of scenes")
    if scan is not None and (words := difference(labels.grid, scan.grid)):
        raise InputError(
            f"{mask}: is on another grid than {image}: {words}; give the scan that the mask was made from",
            code="unsuitable",
        )


def _first_pass(labels: Source, scan: Source | None, nodata: int | None) -> dict[int, _ClassAccumulator]:
    seen: dict[int, _ClassAccumulator] = {}
    for box, pixels in slabs(labels):
        values = pixels.values[0]
        intensities = None if scan is None else scan.read(box).values[0].astype(np.float32)
        at_end = _border(box, labels.grid.shape)
        for value in np.unique(values).tolist():
            if value == nodata:
                continue
            here, known = values == value, seen.setdefault(value, _ClassAccumulator())
            known.voxels += int(here.sum())
            known.border |= bool((here & at_end).any())
            if intensities is not None:
                found = _plausible(intensities[here])
                known.total += float(found.sum(dtype=np.float64))
                known.halves += np.bincount(keys_of(found) >> 16, minlength=_HALF)
    return seen


def _second_pass(labels: Source, scan: Source, seen: dict[int, _ClassAccumulator]) -> dict[int, float]:
    """Return medians: values whose upper half is that of the middle are counted by their lower half."""
    middles = {value: _middles(known.halves) for value, known in seen.items() if known.halves.any()}
    lower = {(value, half): np.zeros(_HALF, np.int64) for value, pair in middles.items() for half, _ in pair}
    for box, pixels in slabs(labels):
        intensities = scan.read(box).values[0].astype(np.float32)
        for (value, half), counts in lower.items():
            keys = keys_of(_plausible(intensities[pixels.values[0] == value]))
            counts += np.bincount(keys[keys >> 16 == half] & 0xFFFF, minlength=_HALF)
    return {
        value: float(np.mean([_value(half, lower[value, half], rank) for half, rank in pair]))
        for value, pair in middles.items()
    }


def _middles(halves: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the upper half of both middle values, the same twice if the count is odd, and their rank within it."""
    ends, count = np.cumsum(halves), int(halves.sum())
    found = []
    for rank in ((count - 1) // 2, count // 2):
        half = int(np.searchsorted(ends, rank, side="right"))
        found.append((half, rank - int(ends[half] - halves[half])))
    return found


def _value(half: int, counts: NDArray[np.int64], rank: int) -> float:
    """Return the value of a rank among those with an upper half."""
    return value_of(half << 16 | int(np.searchsorted(np.cumsum(counts), rank, side="right")))


def _plausible(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values[is_plausible(values)]


def _border(box: Box, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which cells of `box` are at an end of the grid, shape `box.shape`; an axis of one cell has no ends."""
    at_end = np.zeros(box.shape, np.bool_)
    for axis, size in enumerate(shape):
        index = np.arange(box.start[axis], box.stop[axis])
        ends = ((index == 0) | (index == size - 1)) & (size > 1)
        at_end |= ends.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return at_end


def _rows(
    seen: dict[int, _ClassAccumulator],
    medians: dict[int, float],
    classes: ClassTable,
    grid: Grid,
    *,
    measured: bool,
) -> list[Structure]:
    names = {entry.value: entry.name for entry in classes}
    voxel = grid.cell_volume / 1000
    rows = []
    for value in sorted({*names, *seen}):
        known = seen.get(value, _ClassAccumulator())
        count = int(known.halves.sum())
        mean = known.total / count if measured and count else None
        measured_row = value, names.get(value, str(value)), known.voxels, known.voxels * voxel
        rows.append(Structure(*measured_row, known.border, mean, medians.get(value)))
    return rows
