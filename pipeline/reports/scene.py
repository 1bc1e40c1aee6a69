"""What the report of a scene's mask says and shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine import STEPS, Source
from pipeline.errors import InputError, PipelineError, RequestError
from pipeline.evaluation.compare import evaluate
from pipeline.evaluation.labels import UNCOUNTED, ClassIndex, class_table, index_slabs
from pipeline.evaluation.pairs import Pair, open_pair
from pipeline.geometry.grid import difference
from pipeline.io.mask_files import check_mask, mask_info
from pipeline.io.opening import open_source
from pipeline.io.raster.placement import ground_spacing
from pipeline.jobs.layers import layer_path
from pipeline.masks.areas import PIXELS, Area
from pipeline.masks.areas import areas as areas_of
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
from pipeline.reports.tiles import (
    Frame,
    Tiles,
    frame_of,
    image_picture,
    image_tiles,
    label_tiles,
    labels_of,
    layer_tiles,
    shrunk,
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
from pipeline.sources.shrink import middles, sampled

_UNITS = (("km²", 1e6), ("ha", 1e4), ("m²", 0.0))
"""Units of areas, from the largest, with the square meters from which on they are used."""
_DETAIL, _LEAST, _MOST = 2048, 256, 16384
"""Pixels of the longer side: by default, at least and at most."""
_MOST_CLASSES = 12
"""Classes in the chart; the table has all."""


@dataclass(frozen=True)
class ScenePage:
    """What the page of a scene says."""

    title: str
    made_by: str
    notes: tuple[str, ...]
    """What is missing, and how to get it."""
    unit: str
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
        """The largest classes, largest first."""
        present = [row for row in self.classes if row.cells]
        return tuple(sorted(present, key=lambda row: -row.amount)[:_MOST_CLASSES])


@dataclass(frozen=True)
class Layer:
    """A picture over or under the mask."""

    name: str
    kind: str
    """How tiles are shown: "picture", "labels" or "share"."""
    tiles: Tiles
    low: float = 0.0
    high: float = 1.0


def scene_page(mask: Path, asked: ReportOptions) -> Page:
    """Return the page of a scene's mask.

    Raises:
        PipelineError: If the mask cannot be read, or what was asked to be shown with it does not belong to it.

    """
    with closing(open_source(mask)) as labels:
        check_mask(mask, labels, "scene")
        info = mask_info(mask)
        nodata = _unseen(labels) if info.nodata is None else info.nodata
        frame = frame_of(labels.grid.shape, _detail(asked))
        record = record_of(info)
        image, image_notes = _image(mask, labels, record, asked, frame)
        shown = labels_of(labels, frame, nodata)
        layers, layer_notes, histograms = _layers(mask, labels, frame)
        errors, compared = _errors(mask, asked.truth, frame)
        found, failed = areas_of(mask), failed_places(record, labels.grid.shape)
        page = _page(mask, found, labels, record, colors_of([area.value for area in found], info.classes))
        page = replace(
            page,
            notes=(*image_notes, *layer_notes, *page.notes),
            histograms=histograms,
            comparison=compared,
            facts=(*page.facts, *disagreement_of(mask)),
            commands=commands(mask, record, asked),
            failed=places_of(failed, ("rows", "columns")),
        )
        under = [] if image is None else [Layer("image", "picture", image_tiles(image))]
        gaps = [] if failed else _failures(record, image, shown == nodata)
        pictures = [*under, Layer("mask", "labels", label_tiles(shown, nodata)), *layers, *gaps, *errors]
        data = _data(page, labels, frame, pictures, nodata)
        data["failed"] = [[*box.start, *box.stop] for box in failed]
        return Page("scene", page, data, [("ol", "ol.js")], [("ol", "ol.css")])


def _unseen(labels: Source) -> int:
    """Return a value for what was not observed, where the mask names none: the largest of its type."""
    return int(np.iinfo(labels.dtype).max)


def _page(mask: Path, found: Sequence[Area], labels: Source, record: Record, colors: dict[int, str]) -> ScenePage:
    cells = int(np.prod(labels.grid.shape))
    observed = sum(area.cells for area in found)
    unit, size = _unit(found)
    notes = [] if observed else [f"Nothing was observed: all {cells:,} cells are nodata."]
    rows = [ClassRow(a.value, a.name, colors[a.value], a.cells, a.area / size, a.share) for a in found]
    failed = [("patches that failed", str(record[FAILED]))] if FAILED in record else []
    facts = (
        ("size", f"{labels.grid.shape[1]:,} x {labels.grid.shape[0]:,} pixels"),
        ("nodata", f"{1 - observed / cells:.2%} of all pixels"),
        *_place(labels),
        *failed,
    )
    return ScenePage(
        title=mask.name,
        made_by=made_by(),
        notes=tuple(notes),
        unit=unit,
        classes=tuple(rows),
        facts=facts,
        histograms=(),
        comparison=None,
        provenance=rows_of_record(record),
        commands=(),
    )


def _unit(found: Sequence[Area]) -> tuple[str, float]:
    """Return the unit in which areas are shown, and its square meters."""
    if not found or found[0].unit == PIXELS:
        return PIXELS, 1.0
    most = max(area.area for area in found)
    name, size = next((name, size) for name, size in _UNITS if most >= size)
    return name, size or 1.0


def _place(labels: Source) -> Facts:
    meters, crs = ground_spacing(labels.grid), _crs_name(labels.grid.crs)
    size = () if meters is None else (("pixel", f"{number(meters[1])} x {number(meters[0])} m on the ground"),)
    return (*size, *(() if crs is None else (("CRS", crs),)))


def _crs_name(crs: str | None) -> str | None:
    """Return the name in WKT, or the code."""
    return crs.split('"')[1] if crs and '"' in crs else crs


def _detail(asked: ReportOptions) -> int:
    """Return the pixels of the longer side.

    Raises:
        RequestError: If they are too few or too many.

    """
    if asked.detail is None:
        return _DETAIL
    if not _LEAST <= asked.detail <= _MOST:
        raise RequestError(f"--detail {asked.detail}: pixels of a scene's longer side must be from {_LEAST} to {_MOST}")
    return asked.detail


def _image(
    mask: Path, labels: Source, record: Record, asked: ReportOptions, frame: Frame
) -> tuple[NDArray[np.uint8] | None, tuple[str, ...]]:
    """Return the image as a picture, or what to do about it.

    Raises:
        InputError: If an image that was given cannot be read, or is on another grid.

    """
    found = find_image(mask, record, asked.image)
    if found.path is None:
        return None, found.notes
    try:
        with _on_grid(found.path, labels, mask) as image:
            return image_picture(image, frame), found.notes
    except PipelineError as error:
        if asked.image is not None:
            raise
        return None, (f"The image beside the mask is not shown: {error}",)


def _failures(record: Record, image: NDArray[np.uint8] | None, empty: NDArray[np.bool_]) -> list[Layer]:
    """Return a layer of what the image has and the mask has not, where patches failed at places that are not known."""
    if FAILED not in record or image is None:
        return []
    missing = np.where(empty & (image[3] > 0), 255, 0).astype(np.uint8)
    return [Layer("failed patches", "picture", layer_tiles(np.stack([missing, missing * 0, missing, missing])))]


@contextmanager
def _on_grid(path: str, labels: Source, mask: Path) -> Iterator[Source]:
    """Open a raster that must be on the grid of the mask.

    Raises:
        InputError: If it is not.

    """
    with closing(open_source(path)) as source:
        if not source.grid.is_scene or (words := difference(labels.grid, source.grid)):
            told = words if source.grid.is_scene else "it is a volume"
            raise InputError(
                f"{path}: is on another grid than {mask}: {told}; give the image that the mask was made from",
                "unsuitable",
            )
        yield source


def _layers(mask: Path, labels: Source, frame: Frame) -> tuple[list[Layer], list[str], tuple[Histogram, ...]]:
    """Return the layers beside the mask, what is wrong with others, and histograms."""
    layers, notes, histograms = [], [], []
    for name, (low, high) in RANGES.items():
        path = layer_path(mask, name)
        if not path.exists():
            continue
        try:
            with _on_grid(str(path), labels, mask) as source:
                picture, values = _share(source, frame, low, high)
        except PipelineError as error:
            notes.append(f"The layer of {name} is not shown: {error}")
            continue
        layers.append(Layer(name, "share", layer_tiles(picture), low, high))
        histograms.append(histogram(name, values, low, high))
    return layers, notes, tuple(one for one in histograms if one is not None)


def _share(source: Source, frame: Frame, low: float, high: float) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return a layer of shares as a picture, in steps from `low` to `high`, and its observed values."""
    stored, valid = shrunk(source, frame, sampled)
    seen = (stored[0] > 0) if valid is None else valid & (stored[0] > 0)
    shares = (stored[0].astype(np.float32) - 1) / STEPS
    gray = np.clip((shares - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    return np.stack([gray, gray, gray, np.where(seen, 255, 0).astype(np.uint8)]), shares[seen]


def _errors(mask: Path, truth: str | None, frame: Frame) -> tuple[list[Layer], Comparison | None]:
    if truth is None:
        return [], None
    found = evaluate([(mask, truth)], bootstrap=0)
    pair = Pair(str(mask), truth)
    index = ClassIndex(class_table([pair], ()), ())
    return [Layer("errors", "picture", layer_tiles(_error_picture(pair, index, frame)))], comparison(found, truth)


def _error_picture(pair: Pair, index: ClassIndex, frame: Frame) -> NDArray[np.uint8]:
    """Return red where mask and truth differ, black where nothing was predicted, and nothing elsewhere."""
    rows, columns = (middles(cells, parts) for cells, parts in zip(frame.cells, frame.shape, strict=True))
    picture, done = np.zeros((4, *frame.shape), np.uint8), 0
    with open_pair(pair) as files:
        for part in index_slabs(files, index):
            first, last = np.searchsorted(rows, (done, done + part.shape[1]))
            truth, predicted = part[:, rows[first:last] - done][:, :, columns]
            wrong = (truth != predicted) & (truth != UNCOUNTED)
            picture[3, first:last] = np.where(wrong, 255, 0)
            picture[0, first:last] = np.where(wrong & (predicted != index.missed), 230, 0)
            done += part.shape[1]
    return picture


def _data(page: ScenePage, labels: Source, frame: Frame, layers: Sequence[Layer], nodata: int) -> dict[str, Any]:
    meters = ground_spacing(labels.grid)
    return {
        "shape": frame.shape,
        "cells": frame.cells,
        "zooms": frame.zooms,
        "affine": labels.grid.affine,
        "crs": _crs_name(labels.grid.crs),
        "meters": None if meters is None else meters[1] * frame.cells[1] / frame.shape[1],
        "nodata": nodata,
        "classes": [{"value": row.value, "name": row.name, "color": row.color} for row in page.classes],
        "layers": [vars(layer) for layer in layers],
    }
