"""What the report of a volume's mask says and shows."""

from __future__ import annotations

import gzip
from base64 import b64encode
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.classes import hex_color
from pipeline.engine import STEPS, Source
from pipeline.errors import InputError, PipelineError, RequestError
from pipeline.evaluation.compare import evaluate
from pipeline.evaluation.labels import UNCOUNTED, ClassIndex, class_table, index_slabs
from pipeline.evaluation.pairs import Pair, open_pair
from pipeline.geometry import Grid
from pipeline.geometry.affine import as_matrix
from pipeline.geometry.grid import difference
from pipeline.geometry.orientation import orientation_of
from pipeline.io.mask_files import check_mask, mask_info
from pipeline.io.opening import open_source
from pipeline.io.volume.nifti_write import nifti_bytes
from pipeline.jobs.layers import layer_path
from pipeline.masks.image import open_image
from pipeline.masks.paint import RAMP
from pipeline.masks.structures import Structure, measure
from pipeline.reports.options import ReportOptions
from pipeline.reports.page import Page, number
from pipeline.reports.provenance import (
    Record,
    commands,
    disagreement_of,
    failed_places,
    find_image,
    record_of,
    rows_of_record,
)
from pipeline.reports.values import (
    RANGES,
    ClassRow,
    Comparison,
    Facts,
    Histogram,
    Places,
    colors_of,
    comparison,
    histogram,
    made_by,
    places_of,
)
from pipeline.runs.publish import FAILED
from pipeline.sources.shrink import Indices, cells_at
from pipeline.sources.validity import is_plausible

_DETAIL, _LEAST, _MOST = 256, 16, 512
"""Voxels along the longest axis: by default, at least and at most."""
_DARK, _BRIGHT = 0.5, 99.5
"""Percentiles of an image that are black and white."""
_STEPS = 255
_ERRORS = (("differs", "#e61e1e"), ("not predicted", "#141414"))


@dataclass(frozen=True)
class VolumePage:
    """What the page of a volume says."""

    title: str
    made_by: str
    notes: tuple[str, ...]
    classes: tuple[ClassRow, ...]
    facts: Facts
    histograms: tuple[Histogram, ...]
    comparison: Comparison | None
    provenance: Facts
    commands: tuple[str, ...]
    failed: Places | None = None
    """Where patches failed, as far as that is known."""

    @property
    def chart(self) -> tuple[ClassRow, ...]:
        """The structures, without background, largest first."""
        return tuple(sorted((row for row in self.classes if row.cells and row.value), key=lambda row: -row.amount)[:20])


@dataclass(frozen=True)
class Preview:
    """Every n-th voxel along each axis of a volume."""

    grid: Grid
    at: tuple[Indices, ...]
    """Indices of the voxels along each axis."""


@dataclass(frozen=True)
class Shown:
    """An image under the outlines, and what a reader should know about it."""

    content: str | None
    """A NIfTI file in Base64."""
    notes: tuple[str, ...]
    histogram: Histogram | None = None


def volume_page(mask: Path, asked: ReportOptions) -> Page:
    """Return the page of a volume's mask.

    Raises:
        PipelineError: If the mask cannot be read, or what was asked to be shown with it does not belong to it.

    """
    info = mask_info(mask)
    record = record_of(info)
    affine = _affine(record)
    with closing(open_source(mask, affine=affine or "sform")) as labels:
        check_mask(mask, labels, "volume")
        preview = preview_of(labels.grid, _detail(asked))
        image = _image(mask, labels.grid, record, asked, preview)
        content = packed(preview.grid, cells_at(labels, preview.at).values[0])
        layers, layer_notes, histograms = _layers(mask, labels.grid, affine, preview)
        errors, compared = _errors(mask, asked.truth, preview)
        found = measure(mask, affine=affine or "sform")
        colors = colors_of([structure.value for structure in found], info.classes)
        rows = _rows(found, colors, info.nodata)
        page = VolumePage(
            title=mask.name,
            made_by=made_by(),
            notes=(*image.notes, *layer_notes, *_emptiness(found), *_coarseness(preview, labels.grid)),
            classes=rows,
            facts=(*_facts(labels.grid, found, record), *disagreement_of(mask)),
            histograms=tuple(one for one in (*histograms, image.histogram) if one is not None),
            comparison=compared,
            provenance=rows_of_record(record),
            commands=commands(mask, record, asked),
            failed=places_of(failed_places(record, labels.grid.shape), ("slices (z)", "rows (y)", "columns (x)")),
        )
        data = {
            "image": image.content,
            "blank": _blank(preview.grid) if image.content is None else None,
            "mask": content,
            "layers": layers,
            "ramp": list(map(hex_color, RAMP)),
            "errors": errors,
            "nodata": info.nodata,
            "classes": [{"value": row.value, "name": row.name, "color": row.color} for row in rows],
            "errorClasses": [{"name": name, "color": color} for name, color in _ERRORS],
        }
        return Page("volume", page, data, [("niivue", "niivue.umd.js")])


def preview_of(grid: Grid, most: int) -> Preview:
    """Return the voxels of a grid that are shown: at most `most` along each axis, evenly spaced."""
    steps = [ceil(length / most) for length in grid.shape]
    at = tuple(np.arange(step // 2, length, step) for step, length in zip(steps, grid.shape, strict=True))
    inside = np.diag([*steps, 1.0])
    inside[:-1, -1] = [step // 2 for step in steps]
    return Preview(Grid(tuple(map(len, at)), as_matrix(np.array(grid.affine) @ inside), grid.axes), at)


def packed(grid: Grid, values: NDArray[Any], scaling: tuple[float, float] | None = None) -> str:
    """Return voxels `(z, y, x)` as a packed NIfTI file in Base64."""
    content = nifti_bytes(grid, values, scaling)
    return b64encode(gzip.compress(content, 6, mtime=0)).decode("ascii")


def _blank(grid: Grid) -> str:
    """Return an image of zeros, for outlines to be drawn on."""
    return packed(grid, np.zeros(grid.shape, np.uint8), (1.0, 0.0))


def _detail(asked: ReportOptions) -> int:
    """Return the voxels along the longest axis.

    Raises:
        RequestError: If they are too few or too many.

    """
    if asked.detail is None:
        return _DETAIL
    if not _LEAST <= asked.detail <= _MOST:
        raise RequestError(
            f"--detail {asked.detail}: voxels along an axis of a volume must be from {_LEAST} to {_MOST}"
        )
    return asked.detail


def _rows(found: Sequence[Structure], colors: dict[int, str], nodata: int | None) -> tuple[ClassRow, ...]:
    total = sum(structure.voxels for structure in found if structure.value) or 1
    return tuple(
        ClassRow(
            structure.value,
            structure.name,
            colors[structure.value],
            structure.voxels,
            structure.ml,
            structure.voxels / total if structure.value else None,
            "reaches the end of the scan" if structure.touches_border and structure.value else "",
        )
        for structure in found
        if structure.value != nodata
    )


def _emptiness(found: Sequence[Structure]) -> tuple[str, ...]:
    return () if any(one.voxels for one in found) else ("Nothing was observed: all voxels are nodata.",)


def _coarseness(preview: Preview, grid: Grid) -> tuple[str, ...]:
    if preview.grid.shape == grid.shape:
        return ()
    shown, all_of_it = (" x ".join(map(str, one.shape[::-1])) for one in (preview.grid, grid))
    return (f"Pictures show {shown} of its {all_of_it} voxels; volumes are of all of them. --detail shows more.",)


def _facts(grid: Grid, found: Sequence[Structure], record: Record) -> Facts:
    cells = int(np.prod(grid.shape))
    missing = 1 - sum(one.voxels for one in found) / cells
    failed = [("patches that failed", str(record[FAILED]))] if FAILED in record else []
    return (
        ("size", f"{' x '.join(map(str, grid.shape[::-1]))} voxels (x, y, z)"),
        ("spacing", f"{' x '.join(map(number, grid.spacing[::-1]))} mm"),
        ("orientation", f"{orientation_of(grid)}: the axes x, y and z grow towards these sides"),
        ("nodata", f"{missing:.2%} of all voxels"),
        *failed,
    )


def _image(mask: Path, grid: Grid, record: Record, asked: ReportOptions, preview: Preview) -> Shown:
    """Return the image under the outlines, or what to do about it.

    Raises:
        InputError: If an image that was given cannot be read, or is on another grid.

    """
    found = find_image(mask, record, asked.image)
    if found.path is None:
        return Shown(None, found.notes)
    try:
        volume = _volume(record) if asked.volume is None else asked.volume
        with closing(open_image(found.path, volume, _affine(record) or "strict")) as image:
            return replace(_picture(found.path, mask, grid, image, preview), notes=found.notes)
    except PipelineError as error:
        if asked.image is not None:
            raise
        return Shown(None, (f"The image beside the mask is not shown: {error}",))


def _affine(record: Record) -> str | None:
    """Return which of two affines that disagree was chosen for the run."""
    said = record.get("affine")
    return said if said in ("sform", "qform") else None


def _volume(record: Record) -> int | None:
    said = record.get("volume")
    return said if isinstance(said, int) else None


def _picture(path: str, mask: Path, grid: Grid, image: Source, preview: Preview) -> Shown:
    if words := difference(grid, image.grid):
        raise InputError(
            f"{path}: is on another grid than {mask}: {words}; give the image that the mask was made from",
            "unsuitable",
        )
    values = cells_at(image, preview.at).values[0].astype(np.float32)
    seen = values[is_plausible(values)]
    low, high = map(float, np.percentile(seen, (_DARK, _BRIGHT))) if seen.size else (0.0, 1.0)
    slope = max(high - low, 1e-6) / _STEPS
    steps = np.clip((np.where(is_plausible(values), values, low) - low) / slope, 0, _STEPS).round().astype(np.uint8)
    return Shown(packed(preview.grid, steps, (slope, low)), (), histogram("values of the image", seen, low, high))


def _layers(
    mask: Path, grid: Grid, affine: str | None, preview: Preview
) -> tuple[list[dict[str, Any]], list[str], list[Histogram | None]]:
    """Return the layers of shares beside the mask, what is wrong with others, and histograms."""
    layers: list[dict[str, Any]] = []
    notes, histograms = [], []
    for name, (low, high) in RANGES.items():
        path = layer_path(mask, name)
        if not path.exists():
            continue
        try:
            shares = _shares(path, mask, grid, affine, preview)
        except PipelineError as error:
            notes.append(f"The layer of {name} is not shown: {error}")
            continue
        layers.append({"name": name, "content": _in_steps(preview.grid, shares, low, high), "low": low, "high": high})
        histograms.append(histogram(name, shares[~np.isnan(shares)], low, high))
    return layers, notes, histograms


def _shares(path: Path, mask: Path, grid: Grid, affine: str | None, preview: Preview) -> NDArray[np.float32]:
    """Return the values of a layer, NaN where nothing was observed: as they are, or of bytes that are steps."""
    with closing(open_source(path, affine=affine or "sform")) as source:
        if words := difference(grid, source.grid):
            raise InputError(f"{path}: is on another grid than {mask}: {words}; make both again", "unsuitable")
        stored, valid = cells_at(source, preview.at)
    shares: NDArray[np.float32] = stored[0].astype(np.float32)
    if stored.dtype.kind != "f":
        shares = (shares - 1) / np.float32(STEPS)
    return np.where(True if valid is None else valid, shares, np.float32(np.nan))


def _in_steps(grid: Grid, shares: NDArray[np.float32], low: float, high: float) -> str:
    """Return shares in bytes, from 1 for `low` to 255 for `high`; 0 was not observed."""
    step = (high - low) / STEPS
    steps = np.nan_to_num(np.clip((shares - low) / step, 0, STEPS).round() + 1, nan=0).astype(np.uint8)
    return packed(grid, steps, (step, low - step))


def _errors(mask: Path, truth: str | None, preview: Preview) -> tuple[str | None, Comparison | None]:
    """Return where mask and truth differ, 1, and where nothing was predicted, 2; and the figures."""
    if truth is None:
        return None, None
    found = evaluate([(mask, truth)], bootstrap=0)
    pair = Pair(str(mask), truth)
    index = ClassIndex(class_table([pair], ()), ())
    kept, done = np.zeros(preview.grid.shape, np.uint8), 0
    with open_pair(pair) as files:
        for part in index_slabs(files, index):
            first, last = np.searchsorted(preview.at[0], (done, done + part.shape[1]))
            chosen: tuple[Any, ...] = np.ix_(preview.at[0][first:last] - done, *preview.at[1:])
            expected, predicted = part[(slice(None), *chosen)]
            wrong = (expected != predicted) & (expected != UNCOUNTED)
            kept[first:last] = np.where(wrong, 1 + (predicted == index.missed), 0)
            done += part.shape[1]
    return packed(preview.grid, kept), comparison(found, truth)
