"""Pictures of an evaluation: its confusion matrix, and what the best, the middle and the worst item look like."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import nlargest
from html import escape
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.classes import ClassTable, LabelClass
from pipeline.engine import Source
from pipeline.evaluation.charts import reliability_svg, resolution_svg
from pipeline.evaluation.labels import UNCOUNTED, ClassIndex, ClassIndices, index_box, index_slabs
from pipeline.evaluation.pairs import Pair, open_pair
from pipeline.evaluation.result import Evaluation, ItemResult, Overall, ranked, summary_of
from pipeline.files.atomic import atomic_write
from pipeline.files.visible import visible
from pipeline.geometry import Box
from pipeline.geometry.orientation import Display, display_of
from pipeline.io.lettering import legend, line
from pipeline.io.opening import open_source
from pipeline.io.raster import write_png
from pipeline.io.suffixes import stem_of
from pipeline.sources.passes import slabs
from pipeline.sources.percentiles import to_gray

Picture = NDArray[np.uint8]
"""`(rows, columns, 3)`."""

_SIDE = 512
"""Most pixels along a side of a panel, and least along the longer one: small items are enlarged."""
_GAP = 8
FAILURE, _FAILURES, _CHIP = "failure", 6, 256
"""Beginning of the names of pictures of parts that are wrong, most of them, and cells of a side of a scene's."""
_RIGHT, _WRONG, _MISSED, _LEFT_OUT = (225, 225, 225), (200, 30, 30), (30, 30, 30), (255, 255, 255)
_CELL, _HEAD, _LETTER = 64, 24, 7
"""Pixels of the matrix: a cell, a line of text, and a letter."""


def draw_pictures(evaluation: Evaluation, pairs: Sequence[Pair], folder: Path) -> list[Path]:
    """Write charts, and pictures of the best, the middle and the worst pair and of failures, into `folder`.

    A picture shows, from left to right: the image where it is known, the truth, the prediction, and where they agree
    (light), differ (red), where nothing was predicted (black) and what was not counted (white), with a caption over
    each and the names of the colors below. Of a volume it shows the slice with the most labelled voxels, upright, with
    its number and letters for the sides of the body. Failures are the parts with most wrong cells, see `find_failures`.
    Returns the files. Raises OutputError.
    """
    overall, made = evaluation.overall, []
    for name, text in _charts(overall):
        made.append(folder / name)
        with atomic_write(made[-1]) as draft:
            draft.write_text(text, encoding="utf-8")
    classes = tuple(LabelClass(entry.value, entry.name, entry.color) for entry in overall.classes)
    index = ClassIndex(classes, overall.settings["ignore"])
    for rank, item in _chosen(ranked(evaluation)).items():
        pair = next(pair for pair in pairs if pair.prediction == item.prediction)
        made.append(folder / f"{rank}_{stem_of(pair.prediction)}.png")
        write_png(made[-1], _panels(pair, index).transpose(2, 0, 1))
    for number, failure in enumerate(find_failures(pairs, index), 1):
        made.append(folder / f"{FAILURE}_{number}_{stem_of(failure.pair.prediction)}.png")
        write_png(made[-1], _failure_panels(failure, index).transpose(2, 0, 1))
    return made


def _charts(overall: Overall) -> Iterator[tuple[str, str]]:
    """Yield the charts of what was measured, by the name of their file."""
    yield "confusion.svg", confusion_svg(overall)
    recorded = summary_of(overall)
    if "calibration" in recorded:
        yield "reliability.svg", reliability_svg(recorded["calibration"])
    if "resolutions" in recorded:
        yield (
            "resolutions.svg",
            resolution_svg(recorded["resolutions"], {entry.name: entry.color for entry in overall.classes}),
        )


class Failure(NamedTuple):
    """A part of a pair where the prediction errs much."""

    pair: Pair
    box: Box
    wrong: int
    """Counted cells that are wrong or not predicted."""


def find_failures(pairs: Sequence[Pair], index: ClassIndex) -> list[Failure]:
    """Return the parts with most wrong cells, worst first: chips of a scene or slices of a volume.

    There are at most `_FAILURES`, and of one pair at most two, unless there are few pairs.
    """
    each = max(2, ceil(_FAILURES / len(pairs)))
    found = [failure for pair in pairs for failure in nlargest(each, _errors(pair, index), key=lambda one: one.wrong)]
    return sorted(found, key=lambda one: -one.wrong)[:_FAILURES]


def _errors(pair: Pair, index: ClassIndex) -> Iterator[Failure]:
    """Yield the parts of a pair that have a wrong cell, in order, reading slabs."""
    with open_pair(pair) as files:
        shape, done = files.grid.shape, 0
        sides = (_CHIP, _CHIP) if files.grid.is_scene else (1, *shape[1:])
        counts = np.zeros([ceil(length / side) for length, side in zip(shape, sides, strict=True)], np.int64)
        for truth, prediction in index_slabs(files, index):
            first, *others = np.nonzero((truth != prediction) & (truth != UNCOUNTED))
            places = [at // side for at, side in zip((first + done, *others), sides, strict=True)]
            blocks = np.ravel_multi_index(places, counts.shape)
            counts += np.bincount(blocks, minlength=counts.size).reshape(counts.shape)
            done += len(truth)
    for place in np.argwhere(counts):
        start = tuple(int(at) * side for at, side in zip(place, sides, strict=True))
        box = Box(start, tuple(at + side for at, side in zip(start, sides, strict=True))).clip(Box.whole(shape))
        yield Failure(pair, box, int(counts[tuple(place)]))


def _failure_panels(failure: Failure, index: ClassIndex) -> Picture:
    box, pair = failure.box, failure.pair
    with open_pair(pair) as files:
        display = None if files.grid.is_scene else display_of(files.grid)
        indices = index_box(files, index, box)
    if display is not None:
        return _row(pair, indices[:, 0], index, box, display)
    rows, columns = (f"{start}:{stop}" for start, stop in zip(box.start, box.stop, strict=True))
    head = f"{stem_of(pair.prediction)}, rows {rows}, columns {columns}: {failure.wrong:,} wrong cells"
    panels = _row(pair, indices, index, box, None)
    return np.concatenate([line(panels.shape[1], head), panels])


def confusion_svg(overall: Overall) -> str:
    """The confusion matrix as a picture: rows are classes of the truth, in shares of the row; darker is more."""
    matrix = np.array(overall.confusion)
    names = [visible(entry.name) for entry in overall.classes]
    columns = [*names, "not predicted"] if matrix[:, -1].any() else names
    matrix = matrix[:, : len(columns)]
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    left = 16 + _LETTER * max(map(len, names))
    top = 16 + _HEAD + _LETTER * max(map(len, columns)) * 3 // 4
    width = left + _CELL * len(columns) + 16 + _LETTER * max(map(len, columns)) * 3 // 4
    height = top + _CELL * len(names) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{left}" y="16">rows: truth; columns: prediction; percent of the row</text>',
    ]
    for number, name in enumerate(columns):
        x = left + _CELL * number + _CELL // 2
        parts.append(f'<text transform="translate({x},{top - 6}) rotate(-40)">{escape(name)}</text>')
    for row, name in enumerate(names):
        y = top + _CELL * row
        parts.append(f'<text x="{left - 6}" y="{y + 36}" text-anchor="end">{escape(name)}</text>')
        parts += [
            _cell(left + _CELL * column, y, float(share), int(cells))
            for column, (share, cells) in enumerate(zip(shares[row], matrix[row], strict=True))
        ]
    return "\n".join([*parts, "</svg>", ""])


def _cell(x: int, y: int, share: float, cells: int) -> str:
    red, green, blue = (round(255 - share * (255 - end)) for end in (20, 70, 130))
    ink = "#fff" if share > 0.5 else "#222"
    return (
        f'<rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" fill="rgb({red},{green},{blue})" stroke="#ddd">'
        f"<title>{cells} cells</title></rect>"
        f'<text x="{x + _CELL // 2}" y="{y + 36}" text-anchor="middle" fill="{ink}">{100 * share:.1f}</text>'
    )


def _chosen(items: list[ItemResult]) -> dict[str, ItemResult]:
    """The best, the middle and the worst of items in that order; none of them twice."""
    if len(items) < 3:
        return dict(zip(("best", "worst"), items, strict=False))
    return {"best": items[0], "median": items[len(items) // 2], "worst": items[-1]}


def _panels(pair: Pair, index: ClassIndex) -> Picture:
    with open_pair(pair) as files:
        step = _step(files.grid.shape)
        display = None if files.grid.is_scene else display_of(files.grid)
        if files.grid.is_scene:
            at = None
            indices = np.concatenate(list(_thinned(index_slabs(files, index), step)), axis=1)
        else:
            whole = np.concatenate(list(index_slabs(files, index)), axis=1)
            at = _fullest(whole[0], index.classes)
            indices = whole[:, at, ::step, ::step]
    image = None if pair.image is None else _seen(pair.image, at, step)
    return _beside_image(image, indices, index, at, display)


def _row(pair: Pair, indices: ClassIndices, index: ClassIndex, box: Box, display: Display | None) -> Picture:
    """Return the panels of a part of a pair."""
    image = None if pair.image is None else _seen_in(pair.image, box)
    return _beside_image(image, indices, index, None if display is None else box.start[0], display)


def _beside_image(
    image: Picture | None, indices: ClassIndices, index: ClassIndex, at: int | None, display: Display | None
) -> Picture:
    """Return image, truth, prediction and differences side by side, with captions and a legend."""
    pictures = {
        **({} if image is None else {"image": image}),
        "truth": _painted(indices[0], index),
        "prediction": _painted(indices[1], index),
        "differences": _verdict(indices, index),
    }
    whole = _beside([_captioned(picture, name, at, display) for name, picture in pictures.items()])
    return np.concatenate([whole, legend(_legend_entries(index), whole.shape[1])])


def _captioned(picture: Picture, name: str, at: int | None, display: Display | None) -> Picture:
    """Return a picture under its name, enlarged; a slice of a volume is upright, with its number and sides."""
    if display is None:
        large = _enlarged(picture)
        return np.concatenate([line(large.shape[1], middle=name), large])
    left, right, top, bottom = display.marks
    large = _enlarged(display.show(picture.transpose(2, 0, 1)).transpose(1, 2, 0))
    width = large.shape[1]
    head, foot = line(width, left, f"{name}, slice {at}; {top} above", right), line(width, middle=f"{bottom} below")
    return np.concatenate([head, large, foot])


def _legend_entries(index: ClassIndex) -> list[tuple[str, tuple[int, int, int]]]:
    return [
        *((entry.name, entry.color) for entry in index.classes),
        ("agrees", _RIGHT),
        ("differs", _WRONG),
        ("not predicted", _MISSED),
        ("not counted", _LEFT_OUT),
    ]


def _step(shape: tuple[int, ...]) -> int:
    return ceil(max(shape[-2:]) / _SIDE)


def _thinned(parts: Iterable[NDArray[Any]], step: int) -> Iterator[NDArray[Any]]:
    """Every `step`-th row and column of slabs `(planes, rows, columns)` that follow each other."""
    done = 0
    for part in parts:
        yield part[:, -done % step :: step, ::step].copy()
        done += part.shape[1]


def _fullest(truth: ClassIndices, classes: ClassTable) -> int:
    """The slice with the most voxels of classes other than the background; the middle one where there is none."""
    wanted = [place for place, entry in enumerate(classes) if entry.value != 0]
    filled = np.isin(truth, wanted).sum(axis=(1, 2))
    return int(filled.argmax()) if filled.any() else len(truth) // 2


def _painted(indices: ClassIndices, index: ClassIndex) -> Picture:
    colors = [*(entry.color for entry in index.classes), _MISSED, _LEFT_OUT]  # index -1 is the last of them
    painted: Picture = np.array(colors, np.uint8)[indices]
    return painted


def _verdict(indices: ClassIndices, index: ClassIndex) -> Picture:
    truth, prediction = indices
    verdict = np.where(truth == prediction, 0, 1)
    verdict[prediction == index.missed] = 2
    verdict[truth == UNCOUNTED] = 3
    painted: Picture = np.array([_RIGHT, _WRONG, _MISSED, _LEFT_OUT], np.uint8)[verdict]
    return painted


def _seen(path: str, at: int | None, step: int) -> Picture:
    """Three channels or one of a scene, or one slice of a volume; what is not uint8 by its percentiles 2 to 98."""
    source = open_source(path, affine="sform")
    try:
        values = _values(source, at, step)
    finally:
        source.close()
    return _shown(values)


def _seen_in(path: str, box: Box) -> Picture:
    """Return a part of a scene or a slice of a volume as `_seen` shows it."""
    source = open_source(path, affine="sform")
    try:
        values = source.read(box).values[:3]
    finally:
        source.close()
    return _shown(values if values.ndim == 3 else values[:, 0])


def _shown(values: NDArray[Any]) -> Picture:
    values = values if values.dtype == np.uint8 else np.stack([_stretched(plane) for plane in values])
    return (values if len(values) == 3 else np.repeat(values[:1], 3, axis=0)).transpose(1, 2, 0)


def _values(source: Source, at: int | None, step: int) -> NDArray[Any]:
    if at is None:
        rows = source.block[0] * max(1, 1024 // source.block[0])
        parts = (pixels.values[:3] for _, pixels in slabs(source, rows))
        return np.concatenate(list(_thinned(parts, step)), axis=1)
    shape = source.grid.shape
    return source.read(Box((at, 0, 0), (at + 1, *shape[1:]))).values[:3, 0, ::step, ::step]


def _stretched(plane: NDArray[Any]) -> Picture:
    values = np.nan_to_num(plane.astype(np.float64))
    return to_gray(values, *np.percentile(values, (2, 98)))


def _enlarged(picture: Picture) -> Picture:
    times = max(1, _SIDE // max(picture.shape[:2]))
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def _beside(pictures: list[Picture]) -> Picture:
    white = np.full((len(pictures[0]), _GAP, 3), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, white)][:-1], axis=1)
