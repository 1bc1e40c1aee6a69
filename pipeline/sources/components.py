"""Connected components of masks: keep the largest of each class, or none below a size."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import generate_binary_structure, label  # type: ignore[attr-defined]

from pipeline.engine import Pixels, Source
from pipeline.geometry import Box, cut_slabs
from pipeline.sources.disjoint_sets import DisjointSets

_ROWS = {2: 1024, 3: 32}
"""Rows to label at a time, by number of axes."""
Labels = NDArray[Any]
Numbers = NDArray[np.int64]


class ComponentFilter(Source):
    """A mask in which components that are too small are background.

    Cells of one class that touch along faces, edges or corners are a component. There are two forward passes: the
    first labels the components of each slab and joins those that meet at its borders, the second, in `read`, labels
    them again in the same way. Memory holds one slab, and one number per component.
    """

    def __init__(self, labels: Source, background: int, nodata: int, *, least: int = 0, largest: bool = False) -> None:
        """Filter `labels`: remove components below `least` cells, with `largest` all but the largest of each class.

        Of equally large components the first in array order is kept.
        """
        self._labels, self._background, self._nodata = labels, background, nodata
        self.info = labels.info
        self._slabs = cut_slabs(self.grid.shape, _ROWS[len(self.grid.shape)])
        self._first = [0]
        self._held: tuple[int, Labels, Numbers] | None = None
        self._kept = self._look(least, largest)

    def read(self, box: Box) -> Pixels:
        """Read the filtered labels of `box`, slab by slab."""
        values = np.empty((1, *box.shape), self.dtype)
        for index, slab in enumerate(self._slabs):
            part = box.clip(slab)
            if part.size:
                labels, pieces = self._numbered(index)
                at = part.within(slab.start).slices
                kept = self._kept[pieces[at]]
                values[0][part.within(box.start).slices] = np.where(kept, labels[at], self._background)
        valid = values[0] != self._nodata
        return Pixels(values, None if valid.all() else valid)

    def close(self) -> None:
        """Close the mask."""
        self._labels.close()

    def _look(self, least: int, largest: bool) -> NDArray[np.bool_]:
        """Whether each component is kept; number 0 stands for the cells that belong to none."""
        joined, sizes, classes = DisjointSets(1), [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]
        above: tuple[Labels, Numbers] | None = None
        for index in range(len(self._slabs)):
            labels, pieces = self._numbered(index)
            first, count = self._first[index], self._first[index + 1] - self._first[index]
            joined.grow(count)
            sizes.append(np.bincount(pieces.ravel(), minlength=first + count + 1)[first + 1 :])
            at = np.zeros(count, np.int64)
            at[pieces[pieces > 0] - first - 1] = labels[pieces > 0]
            classes.append(at)
            if above is not None:
                _meet(joined, *above, labels[0], pieces[0])
            above = labels[-1], pieces[-1]
        return _is_kept(joined.roots(), np.concatenate(sizes), np.concatenate(classes), least, largest)

    def _numbered(self, index: int) -> tuple[Labels, Numbers]:
        """The labels of a slab, and the component number of each cell; the last slab is cached."""
        held = self._held
        if held is None or held[0] != index:
            labels = self._labels.read(self._slabs[index]).values[0]
            pieces, count = np.zeros(labels.shape, np.int64), self._first[index]
            for value in np.unique(labels):
                if value not in (self._background, self._nodata):
                    found, more = label(labels == value, generate_binary_structure(labels.ndim, labels.ndim))
                    np.add(found, count, out=pieces, where=found > 0)
                    count += more
            if len(self._first) == index + 1:
                self._first.append(count)
            self._held = held = index, labels, pieces
        return held[1:]


def _meet(joined: DisjointSets, labels: Labels, pieces: Numbers, below: Labels, pieces_below: Numbers) -> None:
    """Join components that touch across the border of two slabs."""
    pairs = []
    for shift in product((-1, 0, 1), repeat=labels.ndim):
        here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(shift, labels.shape, strict=True))
        there = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(shift, labels.shape, strict=True))
        touching = (labels[here] == below[there]) & (pieces[here] > 0)
        pairs.append(np.column_stack([pieces[here][touching], pieces_below[there][touching]]))
    for one, other in np.unique(np.concatenate(pairs), axis=0).tolist():
        joined.join(one, other)


def _is_kept(roots: Numbers, sizes: Numbers, classes: Numbers, least: int, largest: bool) -> NDArray[np.bool_]:
    whole = np.bincount(roots, sizes).astype(np.int64)
    stays = whole >= least
    if largest:
        order = np.lexsort((np.arange(len(whole)), -whole, classes[: len(whole)]))
        first = order[np.unique(classes[order], return_index=True)[1]]
        stays &= np.isin(np.arange(len(whole)), first)
    kept: NDArray[np.bool_] = stays[roots]
    kept[0] = True
    return kept
