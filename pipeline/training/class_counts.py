"""Count the classes of an item by block, in one streamed pass over its labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.protocols import Source
from pipeline.errors import InputError
from pipeline.geometry import Box
from pipeline.sources.passes import slabs
from pipeline.training.items import Item

BLOCK_SIDE = 64
"""Cells of a block along the last two axes; one slice thick in volumes."""


@dataclass(frozen=True)
class ClassCounts:
    """Counts of each class by block of an item's labels."""

    shape: tuple[int, ...]
    """Cells of the item."""
    counts: NDArray[np.int64]
    """Of shape `(blocks along axis 0, ..., classes)`."""

    @property
    def totals(self) -> NDArray[np.int64]:
        """Cells of each class."""
        total: NDArray[np.int64] = self.counts.reshape(-1, self.counts.shape[-1]).sum(0)
        return total

    def draw(self, rng: np.random.Generator, label: int) -> Box:
        """A block, drawn in proportion to its cells of class `label`, of which there must be some."""
        weights = self.counts[..., label].ravel()
        chosen = int(np.searchsorted(weights.cumsum(), rng.integers(weights.sum()), side="right"))
        index = np.unravel_index(chosen, self.counts.shape[:-1])
        start = tuple(int(i) * side for i, side in zip(index, block_shape(len(self.shape)), strict=True))
        stop = tuple(
            min(a + side, n) for a, side, n in zip(start, block_shape(len(self.shape)), self.shape, strict=True)
        )
        return Box(start, stop)


def block_shape(axes: int) -> tuple[int, ...]:
    """Cells of a block along each axis."""
    return (*(1,) * (axes - 2), BLOCK_SIDE, BLOCK_SIDE)


def count_classes(item: Item, labels: Source, classes: int, ignore: tuple[int, ...]) -> ClassCounts:
    """Count the classes of an item's labels.

    Raises InputError for a value that is neither a class, nor ignored, nor nodata; with the pair and the values.
    """
    rows = []
    scene = labels.grid.is_scene
    step = block_shape(len(labels.grid.shape))[0]
    for _, pixels in slabs(labels, step):
        _check_whole(item, pixels.values[0])
        values = class_numbers(pixels.values[0], pixels.valid, ignore)
        if (values >= classes).any() or (values < -1).any():
            strange = np.unique(values[(values >= classes) | (values < -1)])[:10].tolist()
            raise InputError(
                f"{item.label}, the labels of {item.image}: have the values {strange}, but the classes are 0 to "
                f"{classes - 1} and ignored are {ignore}; add them to classes or to data.ignore"
            )
        counts = _counts(values[None] if scene else values, classes)
        rows.append(counts[0] if scene else counts)
    return ClassCounts(labels.grid.shape, np.concatenate(rows))


def _check_whole(item: Item, values: NDArray[Any]) -> None:
    if values.dtype.kind == "f":
        broken = values[np.isfinite(values) & (values != np.round(values))]
        if broken.size:
            raise InputError(f"{item.label}, the labels of {item.image}: must be whole numbers, got {broken[0]}")


def class_numbers(values: NDArray[Any], valid: NDArray[np.bool_] | None, ignore: tuple[int, ...]) -> NDArray[np.int64]:
    """Labels as class numbers, -1 where they are not to be learned from."""
    labels = np.where(np.isfinite(values), values, -1).astype(np.int64)
    labels[np.isin(values, ignore)] = -1
    if valid is not None:
        labels[~valid] = -1
    return labels


def _counts(planes: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Counts `(planes, blocks down, blocks across, classes)` of planes of labels."""
    down, across = (np.arange(0, length, BLOCK_SIDE) for length in planes.shape[1:])
    by_class = [
        np.add.reduceat(np.add.reduceat(planes == label, down, 1, dtype=np.int64), across, 2)
        for label in range(classes)
    ]
    return np.stack(by_class, -1)
