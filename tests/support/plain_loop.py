"""What a plain loop makes of an image: patch by patch through ONNX Runtime, blended in one array. NumPy only.

A second opinion on whole masks: without any code of this project, and with the whole image and all scores in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Scores = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""Patch `(channels, h, w)` to scores `(classes, h, w)`."""


def plain_mask(image: NDArray[Any], scores: Scores, patch: Sequence[int], overlap: Sequence[int]) -> NDArray[Any]:
    """Return the labels of `image` `(channels, rows, columns)`, at least as large as a patch, as scaled."""
    total: NDArray[np.float64] | None = None
    weight = np.outer(*map(_gaussian, patch))
    for row in _starts(image.shape[1], patch[0], overlap[0]):
        for column in _starts(image.shape[2], patch[1], overlap[1]):
            at = np.s_[:, row : row + patch[0], column : column + patch[1]]
            found = scores(image[at]) * weight
            total = np.zeros((len(found), *image.shape[1:])) if total is None else total
            total[at] += found
    assert total is not None
    return total.argmax(0)


def session_scores(path: Path) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
    """Return what a network in an ONNX file gives for a patch, as ONNX Runtime computes it by default."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda patch: session.run(None, {name: patch[None]})[0][0].astype(np.float64)


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probabilities of scores `(classes, h, w)`."""
    shares = np.exp(scores - scores.max(0))
    return np.asarray(shares / shares.sum(0))


def _gaussian(length: int) -> NDArray[np.float64]:
    at = (np.arange(length) + 0.5) * 2 / length - 1
    return np.maximum(np.exp(-8 * at**2), 1e-3)


def _starts(length: int, patch: int, overlap: int) -> Iterator[int]:
    yield from range(0, length - patch, patch - overlap)
    yield length - patch
