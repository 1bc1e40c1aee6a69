"""Counts of an item that add up over items, and the figures that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.labels import UNCOUNTED, ClassIndices

Counts = dict[str, NDArray[Any]]
"""By name: an array `(..., classes)` that adds up over items."""
Figures = dict[str, NDArray[np.float64]]
"""By name: an array `(..., classes)` or `(...)`; NaN where a figure is not defined."""

PER_CASE = (
    "case_dice",
    "hd95_mm",
    "assd_mm",
    "maximum_distance_mm",
    "surface_dice",
    "volume_error",
    "absolute_volume_error",
    "truth_mm3",
    "predicted_mm3",
)
"""What is taken of each volume by itself; its sums come with the number of volumes for which it is defined."""


def confusion(indices: ClassIndices, classes: int) -> NDArray[np.int64]:
    """Cells by class of the truth (rows) and of the prediction (columns, the last: not predicted).

    `indices` are `(2, ...)`, as `labels.index_slabs` gives them.
    """
    truth, prediction = indices[:, indices[0] != UNCOUNTED].astype(np.int64)
    counts = np.bincount(truth * (classes + 1) + prediction, minlength=classes * (classes + 1))
    return counts.reshape(classes, classes + 1)


def overlap_counts(matrix: NDArray[np.int64]) -> Counts:
    """Cells that agree, that the truth has and that the prediction has, by class."""
    return {"hits": np.diagonal(matrix).copy(), "truth": matrix.sum(1), "predicted": matrix[:, :-1].sum(0)}


def cases_key(name: str) -> str:
    """The name under which a figure of cases keeps the number of cases that have it."""
    return f"{name}_cases"


def add_counts(items: Sequence[Counts], weights: NDArray[np.int64] | None = None) -> Counts:
    """Counts over all items; with `weights` `(n, items)`, arrays `(n, classes)` with each item counted that often."""
    stacked = {name: np.stack([item[name] for item in items]) for name in items[0]}
    if weights is None:
        return {name: values.sum(0) for name, values in stacked.items()}
    return {name: weights @ values for name, values in stacked.items()}


def by_class(counts: Mapping[str, NDArray[Any]]) -> Figures:
    """Figures of each class, of shape `(..., classes)`."""
    hits, truth, predicted = (counts[name] for name in ("hits", "truth", "predicted"))
    figures = {
        "iou": ratio(hits, truth + predicted - hits),
        "dice": ratio(2 * hits, truth + predicted),
        "precision": ratio(hits, predicted),
        "recall": ratio(hits, truth),
    }
    if "boundary_truth" in counts:
        figures["boundary_f1"] = _boundary_f1(counts)
    cases = {name: ratio(counts[name], counts[cases_key(name)]) for name in PER_CASE if name in counts}
    return {**figures, **cases}


def over_all(counts: Mapping[str, NDArray[Any]]) -> Figures:
    """Pixel accuracy, and means over the classes for which a figure is defined; of shape `(...)`."""
    means = {f"mean_{name}": mean(values) for name, values in by_class(counts).items() if not name.endswith("_mm3")}
    return {"accuracy": ratio(counts["hits"].sum(-1), counts["truth"].sum(-1)), **means}


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """`part / whole`, NaN where `whole` is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    quotient: NDArray[np.float64] = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return quotient


def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of what is defined along the last axis; NaN where nothing is."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0).sum(-1), defined.sum(-1))


def _boundary_f1(counts: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Harmonic mean of precision and recall of boundaries; 0 where only one of both has a boundary."""
    precision = ratio(counts["boundary_predicted_near"], counts["boundary_predicted"])
    recall = ratio(counts["boundary_truth_near"], counts["boundary_truth"])
    neither = np.isnan(precision) & np.isnan(recall)
    precision, recall = np.nan_to_num(precision), np.nan_to_num(recall)
    harmonic = np.nan_to_num(ratio(2 * precision * recall, precision + recall))
    return np.asarray(np.where(neither, np.nan, harmonic))
