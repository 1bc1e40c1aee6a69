"""A mask on disk, as a notebook shows it: a small picture with its legend, and how large each class is.

Everything is bounded: the picture, the table, and the memory. Of a large scene, reduced cells are measured.
"""

from __future__ import annotations

from base64 import b64encode
from contextlib import closing
from dataclasses import dataclass
from math import ceil, log2, prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.classes import LabelClass, background_of, hex_color
from pipeline.engine import Pixels, Source
from pipeline.errors import InputError
from pipeline.files.html import element, escaped, table
from pipeline.geometry import Box, Grid
from pipeline.geometry.affine import as_matrix
from pipeline.geometry.orientation import display_of
from pipeline.io.drawing import png_of
from pipeline.io.mask import MaskInfo
from pipeline.io.mask_files import check_mask, mask_info
from pipeline.io.opening import open_source
from pipeline.io.reduced import read_reduced
from pipeline.masks.areas import PIXELS, SQUARE_METERS, areas, ground_of
from pipeline.masks.paint import UNKNOWN, color_table, paint_labels
from pipeline.sources.overviews import HasReducedReads
from pipeline.sources.passes import slabs

_LONGEST, _LEAST = 256, 128
"""Pixels of the longer side of a picture, at most and at least."""
_COUNTED, _ESTIMATED, _MOST = 1 << 24, 1 << 20, 1 << 31
"""Cells of a scene that are all counted; cells that stand for those of a larger one; cells of a mask at most."""
_LISTED = 16
"""Classes in the table, the largest."""
_EDGE = "border:1px solid #999"
_UNITS = (("km²", 1e6), ("ha", 1e4), ("m²", 0.0))
"""Units of areas, and the square meters of a mask from which on they are used."""
Labels = NDArray[Any]


@dataclass(frozen=True)
class MaskFile:
    """A mask of a scene or a volume on disk. In a notebook it is shown; what cannot be shown says why."""

    path: Path

    def _repr_html_(self) -> str:
        try:
            return _html(self.path)
        except Exception as error:
            return element("p", f"<b>{escaped(self.path.name)}</b>: cannot be shown: {escaped(error)}")


@dataclass(frozen=True)
class _Measured:
    """What is shown of a mask."""

    picture: Labels
    """`(rows, columns)`, upright."""
    sizes: dict[int, float]
    """By value: its area or volume."""
    unit: str
    note: str


def _html(path: Path) -> str:
    info = mask_info(path)
    with closing(open_source(path, affine="sform")) as source:
        check_mask(path, source)
        _check_size(source)
        nodata = int(np.iinfo(source.dtype).max) if info.nodata is None else info.nodata
        measured = (_scene if source.grid.is_scene else _volume)(path, source, info, nodata)
        grid, size = source.grid, 1 << 8 * source.dtype.itemsize
    sides = " x ".join(f"{side:,}" for side in grid.shape)
    picture = paint_labels(Pixels(measured.picture[None], None), color_table(info.classes, size, nodata, ()))
    parts = [element("b", escaped(path.name)), f"{sides} {'pixels' if grid.is_scene else 'voxels'}", measured.note]
    shown = table([[_image(picture, path.name), _legend(info, measured)]])
    return element("div", element("div", ", ".join(filter(None, parts))) + shown)


def _check_size(source: Source) -> None:
    """Raise InputError for a mask of which all of very many cells would have to be read."""
    cells, has_overviews = prod(source.grid.shape), isinstance(source, HasReducedReads) and source.factors
    if cells > _MOST and not has_overviews:
        raise InputError(f"it has {cells:,} cells and no overviews; `pipeline report` makes a page of any mask")


def _image(picture: NDArray[np.uint8], name: str) -> str:
    zoom = max(1, ceil(_LEAST / max(picture.shape[:2])))
    large = picture.repeat(zoom, axis=0).repeat(zoom, axis=1)
    content = b64encode(png_of(large, level=9)).decode("ascii")
    source = f"data:image/png;base64,{content}"
    return element("img", "", src=source, alt=f"mask {name}", style=_EDGE).removesuffix("</img>")


def _legend(info: MaskInfo, measured: _Measured) -> str:
    """Return a table of the largest classes that are there, each with its color."""
    known = {entry.value: entry for entry in info.classes}
    total = sum(measured.sizes.values()) or 1.0
    unit, each = _unit(measured.unit, total)
    largest = sorted(measured.sizes.items(), key=lambda pair: -pair[1])
    rows = [
        [_swatch(known.get(value)), _name(value, known.get(value)), _number(size / each), f"{size / total:.1%}"]
        for value, size in largest[:_LISTED]
    ]
    if (more := len(measured.sizes) - _LISTED) > 0:
        rows.append(["", f"and {more:,} more", "", ""])
    if not rows:
        return "nothing was observed: all cells are nodata"
    return table(rows, ("", "class", unit, "share"))


def _unit(unit: str, total: float) -> tuple[str, float]:
    """Return the unit in which areas of a mask are shown, and its square meters."""
    if unit != SQUARE_METERS:
        return unit, 1.0
    return next((name, size or 1.0) for name, size in _UNITS if total >= size)


def _number(value: float) -> str:
    """Return a number with four digits that count, or more before the point.

    >>> _number(1234567.8), _number(0.0123456)
    ('1,234,568', '0.01235')
    """
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _swatch(entry: LabelClass | None) -> str:
    color = hex_color(UNKNOWN if entry is None else entry.color)
    return element("span", "", style=f"{_EDGE};display:inline-block;width:1em;height:1em;background:{color}")


def _name(value: int, entry: LabelClass | None) -> str:
    return escaped(value if entry is None else entry.name)


def _scene(path: Path, source: Source, info: MaskInfo, nodata: int) -> _Measured:
    """Return every n-th cell of a scene, and the area of each class: of all cells, or of some of a large scene."""
    cells = prod(source.grid.shape)
    picture = _reduced(source, _power(max(source.grid.shape) / _LONGEST), nodata)
    if cells <= _COUNTED:
        found = [area for area in areas(path) if area.cells]
        return _Measured(picture, {area.value: area.area for area in found}, found[0].unit if found else PIXELS, "")
    step = _power((cells / _ESTIMATED) ** 0.5)
    sizes = _estimated(source, step, nodata)
    note = f"areas are estimated from one pixel in {step} x {step}; `pipeline areas` measures all"
    return _Measured(picture, sizes, SQUARE_METERS if source.grid.crs else PIXELS, note)


def _power(ratio: float) -> int:
    return 1 << ceil(log2(max(1.0, ratio)))


def _reduced(source: Source, step: int, nodata: int) -> Labels:
    """Return labels with `step` cells along each axis as one; what was not observed is nodata."""
    values, valid = read_reduced(source, Box.whole(source.grid.shape), step, nodata=nodata)
    return values[0] if valid is None else np.where(valid, values[0], nodata).astype(values.dtype)


def _estimated(source: Source, step: int, nodata: int) -> dict[int, float]:
    labels = _reduced(source, step, nodata)
    coarse = Grid(
        (labels.shape[0], labels.shape[1]),
        as_matrix(np.array(source.grid.affine) @ np.diag([step, step, 1.0])),
        source.grid.axes,
        source.grid.crs,
    )
    whole = Box.whole(coarse.shape)
    ground = ground_of(coarse, whole).of(whole) * (1 if source.grid.crs else step * step)
    sums = np.bincount(labels.ravel(), ground.ravel())
    return {value: float(sums[value]) for value in np.flatnonzero(sums).tolist() if value != nodata}


def _volume(path: Path, source: Source, info: MaskInfo, nodata: int) -> _Measured:
    """Return the slice with the most of all structures, and the volume of each, in one pass."""
    size, empty = 1 << 8 * source.dtype.itemsize, [nodata, background_of(info.classes) or 0]
    counts = np.zeros(size, np.int64)
    most, best, shown = -1, 0, np.zeros(source.grid.shape[1:], source.dtype)
    for box, pixels in slabs(source):
        for index, plane in enumerate(pixels.values[0]):
            here = np.bincount(plane.ravel(), minlength=size)
            counts += here
            if (filled := plane.size - int(here[empty].sum())) > most:
                most, best, shown = filled, box.start[0] + index, plane.copy()
    step = max(1, ceil(max(shown.shape) / _LONGEST))
    picture = np.ascontiguousarray(display_of(source.grid).show(shown)[::step, ::step])
    counts[nodata] = 0
    sizes = {value: counts[value] * source.grid.cell_volume / 1000 for value in np.flatnonzero(counts).tolist()}
    return _Measured(picture, sizes, "ml", f"slice {best}, from 0")
