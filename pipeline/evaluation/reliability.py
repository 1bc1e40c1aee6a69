"""How far probabilities can be trusted: cells by confidence, and how often they are right (Guo et al. 2017).

Counts add up over slabs and items, so memory is bounded, and intervals come from the same bootstrap as other figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.counts import Counts, Figures, ratio
from pipeline.evaluation.labels import UNCOUNTED, ClassIndex, ClassIndices
from pipeline.evaluation.result import ReliabilityBin

BINS = 15
"""Bins of confidence, of the same width, from 0 to 1."""


def probabilities(scores: NDArray[np.float32], temperature: float | None) -> NDArray[np.float64]:
    """Return probabilities `(classes, *cells)` of scores: these themselves, or a softmax of logits at `temperature`."""
    if temperature is None:
        return scores.astype(np.float64)
    shares: NDArray[np.float64] = np.exp((scores.astype(np.float64) - scores.max(0)) / temperature)
    shares /= shares.sum(0)
    return shares


def reliability_counts(shares: NDArray[np.float64], truth: ClassIndices, index: ClassIndex) -> Counts:
    """Count the cells of a slab whose truth counts and that were observed, by predicted class and bin of confidence.

    Args:
        shares: Probabilities `(classes, *cells)`, NaN where nothing was observed.
        truth: Indices of the truth `(*cells)`, as `labels.truth_indices` gives them.
        index: The class table that these are indices of.

    """
    seen = (truth != UNCOUNTED) & np.isfinite(shares).all(0)
    found, true = shares[:, seen], planes_of(index)[truth[seen]]
    predicted, best = found.argmax(0), found.max(0)
    at = predicted * BINS + np.minimum((best * BINS).astype(np.int64), BINS - 1)
    of_truth = np.take_along_axis(found, true[None], 0)[0]
    size = len(shares) * BINS
    return {
        "binned": np.bincount(at, minlength=size),
        "right": np.bincount(at[predicted == true], minlength=size),
        "confidence": np.bincount(at, best, size),
        "surprise": np.array([-np.log(np.maximum(of_truth, np.finfo(np.float32).tiny)).sum()]),
    }


def planes_of(index: ClassIndex) -> NDArray[np.int64]:
    """Return the plane of scores of each class of a table: its value."""
    return np.array([entry.value for entry in index.classes], np.int64)


def calibration_figures(counts: Mapping[str, NDArray[Any]]) -> Figures:
    """Expected calibration error, that of the cells of each predicted class `(..., classes)`, and the likelihood.

    The latter is the mean negative log-likelihood of the true classes.
    """
    binned, right, confidence = (
        np.asarray(counts[name], np.float64).reshape(*counts[name].shape[:-1], -1, BINS)
        for name in ("binned", "right", "confidence")
    )
    whole = binned.sum((-2, -1))
    return {
        "ece": ratio(np.abs((right - confidence).sum(-2)).sum(-1), whole),
        "class_ece": ratio(np.abs(right - confidence).sum(-1), binned.sum(-1)),
        "nll": ratio(counts["surprise"][..., 0], whole),
    }


def bins_of(counts: Mapping[str, NDArray[Any]]) -> tuple[ReliabilityBin, ...]:
    """Return the bins of all classes together: the reliability diagram."""
    binned, right, confidence = (counts[name].reshape(-1, BINS).sum(0) for name in ("binned", "right", "confidence"))
    return tuple(
        ReliabilityBin(int(cells), float(sure) / cells, float(hits) / cells) if cells else ReliabilityBin(0, None, None)
        for cells, hits, sure in zip(binned.tolist(), right.tolist(), confidence.tolist(), strict=True)
    )
