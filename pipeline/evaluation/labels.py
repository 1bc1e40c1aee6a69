"""Labels as indices into one table of classes, slab by slab: what is counted, missed, and not a class."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.classes import ClassTable, LabelClass, hue_color
from pipeline.engine import Pixels, Source
from pipeline.errors import InputError, RequestError
from pipeline.evaluation.pairs import OpenPair, OpenTruth, Pair, UnpredictedPair, open_pair
from pipeline.geometry import Box, cut_slabs
from pipeline.io.mask_files import mask_info

ClassIndices = NDArray[np.int16]

UNCOUNTED = -1
"""Index of a cell whose truth is ignored or nodata, in truth and prediction alike."""
_STRANGE = -2
_LARGEST = 65535
_MOST = 256
"""Different values above which labels without a class table are taken for an image."""
SLAB_CELLS = 2**22
"""Cells of a slab, unless one row of blocks has more."""


@dataclass(frozen=True)
class ClassIndex:
    """From values to indices: class `i` of the table has index `i`; what is not predicted has the next one."""

    classes: ClassTable
    """None of them is ignored."""
    ignore: tuple[int, ...]

    @property
    def missed(self) -> int:
        """Index of a counted cell that has no prediction."""
        return len(self.classes)

    @property
    def lookup(self) -> ClassIndices:
        """Index by value + 1; the first and the last entry stand for all values below 0 and above the largest."""
        indices = np.full(_LARGEST + 3, _STRANGE, np.int16)
        indices[[entry.value + 1 for entry in self.classes]] = np.arange(len(self.classes))
        return indices


def index_slabs(files: OpenPair, index: ClassIndex, *, cells: int = SLAB_CELLS) -> Iterator[ClassIndices]:
    """Indices `(2, rows, ...)` of truth and prediction, in full-width slabs of about `cells` cells from the top.

    Raises InputError with the pair and the values for labels that no class has.
    """
    lookup = index.lookup
    for box in _boxes(files, cells):
        yield _indices(files, index, box, lookup)


def index_box(files: OpenPair, index: ClassIndex, box: Box) -> ClassIndices:
    """Indices `(2, *box.shape)` of truth and prediction in a box."""
    return _indices(files, index, box, index.lookup)


def _indices(files: OpenPair, index: ClassIndex, box: Box, lookup: ClassIndices) -> ClassIndices:
    values, labelled = _labels(files, box, 1, index.ignore)
    truth = _indexed(files.pair, "truth", values, labelled, lookup, index)
    values, observed = _labels(files, box, 0, index.ignore)
    prediction = _indexed(files.pair, "prediction", values, observed & labelled, lookup, index)
    prediction[labelled & ~observed] = index.missed
    return np.stack([truth, prediction])


def truth_indices(pair: UnpredictedPair, truth: OpenTruth, box: Box, index: ClassIndex) -> ClassIndices:
    """Indices `(*box.shape)` of the truth in a box; `UNCOUNTED` where it is ignored or nodata.

    Raises InputError with the pair and the values for labels that no class has.
    """
    values, labelled = _labelled(truth.source, truth.nodata, box, index.ignore)
    return _indexed(pair, "truth", values, labelled, index.lookup, index)


def class_table(pairs: Sequence[Pair], ignore: tuple[int, ...]) -> ClassTable:
    """The classes that are compared: those named by the predictions, else by the truths, else the values that occur.

    Raises RequestError where two files call one value by two names, or hold too many values for labels.
    """
    for paths in ([pair.prediction for pair in pairs], [pair.truth for pair in pairs]):
        told = _merged(paths)
        if told:
            return tuple(entry for entry in told if entry.value not in ignore)
    values = sorted(_values(pairs, ignore))
    return tuple(LabelClass(value, f"class {value}", unnamed_color(number)) for number, value in enumerate(values))


def _merged(paths: Iterable[str]) -> ClassTable:
    found: dict[int, tuple[LabelClass, str]] = {}
    for path in paths:
        for entry in mask_info(path).classes:
            before, where = found.setdefault(entry.value, (entry, path))
            if before.name != entry.name:
                raise RequestError(
                    f"class {entry.value} is {before.name!r} in {where} and {entry.name!r} in {path}; "
                    "evaluate them separately"
                )
    return tuple(found[value][0] for value in sorted(found))


def _values(pairs: Iterable[Pair], ignore: tuple[int, ...]) -> set[int]:
    """The values that truths hold, and predictions where the truth is labelled: one pass more over all of them."""
    found: set[int] = set()
    for pair in pairs:
        with open_pair(pair) as files:
            for box in _boxes(files, SLAB_CELLS):
                truth, labelled = _labels(files, box, 1, ignore)
                prediction, observed = _labels(files, box, 0, ignore)
                found.update(np.unique(truth[labelled]).tolist())
                found.update(np.unique(prediction[labelled & observed]).tolist())
                if len(found) > _MOST:
                    raise RequestError(f"{pair}: have more than {_MOST} different values; are both of them labels?")
    strange = sorted(value for value in found if not (0 <= value <= _LARGEST and value == int(value)))
    if strange:
        raise RequestError(f"labels must be whole numbers from 0 to {_LARGEST}, found {strange[:10]}; see --ignore")
    return {int(value) for value in found}


def _boxes(files: OpenPair, cells: int) -> tuple[Box, ...]:
    """Slabs of whole rows of blocks."""
    shape = files.grid.shape
    step = max(files.prediction.block[0], files.truth.block[0])
    rows = max(1, cells // int(np.prod(shape[1:])))
    return cut_slabs(shape, step * max(1, rows // step))


def _labels(files: OpenPair, box: Box, which: int, ignore: tuple[int, ...]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Values of the prediction (0) or the truth (1), and where they stand for a class."""
    return _labelled((files.prediction, files.truth)[which], files.nodata[which], box, ignore)


def _labelled(
    source: Source, nodata: int | None, box: Box, ignore: tuple[int, ...]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    values, valid = _one_channel(source.read(box))
    none = ignore if nodata is None else (*ignore, nodata)
    return values, valid & ~np.isin(values, none) if none else valid


def _one_channel(pixels: Pixels) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    values = pixels.values[0]
    return values, np.ones(values.shape, np.bool_) if pixels.valid is None else pixels.valid


def _indexed(
    pair: Pair | UnpredictedPair,
    part: str,
    values: NDArray[Any],
    counted: NDArray[np.bool_],
    lookup: ClassIndices,
    index: ClassIndex,
) -> ClassIndices:
    places = np.clip(np.where(counted, values, 0), -1, _LARGEST + 1).astype(np.int32) + 1
    indices: ClassIndices = np.where(counted, lookup[places], np.int16(UNCOUNTED))
    strange = indices == _STRANGE
    if values.dtype.kind == "f":
        strange |= counted & (values % 1 != 0)
    if strange.any():
        found = np.unique(values[strange])[:10].tolist()
        known = ", ".join(f"{entry.value} {entry.name}" for entry in index.classes[:20])
        way = "name them with --ignore" if part == "truth" else "declare its nodata"
        raise InputError(
            f"{pair}: the {part} has the values {found} at cells to be compared, but the classes are {known}; "
            f"if they are not classes, {way}"
        )
    return indices


def unnamed_color(number: int) -> tuple[int, int, int]:
    """Return distinct colors: hues a golden angle apart."""
    return hue_color(number * 0.618034, 0.6, 0.9)
