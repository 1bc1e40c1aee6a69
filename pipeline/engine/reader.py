"""The input side of the sweep: reads ahead of the network, each file block once, and cuts patches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.protocols import Pixels, Source, SourceInfo
from pipeline.geometry import Box, reflect

Slices = tuple[slice, ...]

READERS = 2
"""Pieces that are read at the same time."""
_NO_VALUES: NDArray[Any] = np.empty(0)


def readers_of(info: SourceInfo) -> int:
    """Return how many threads read an input: one where each would decode, or hold, the same bytes again."""
    return 1 if info.sequential or info.held else READERS


class RowBuffer:
    """A rolling window of input rows along axis 0, filled ahead of need and emptied behind it."""

    def __init__(self, source: Source, needed: Box, step: int, pool: Executor) -> None:
        """Hold rows of `needed`, read on `pool` in pieces of about `step` rows that end with the file's blocks."""
        self._source = source
        self._pool = pool
        self._whole = Box.whole(source.grid.shape)
        self._todo = _pieces(needed, source.block, step, readers_of(source.info))
        self._coming: deque[tuple[Box, Future[Pixels]]] = deque()
        self._held: tuple[tuple[Box, Pixels], ...] = ()
        self._ask()

    def need(self, stop: int) -> None:
        """Wait until all rows before `stop` are held."""
        while self._coming and self._coming[0][0].start[0] < stop:
            box, future = self._coming.popleft()
            self._held = (*self._held, (box, future.result()))
            self._ask()

    def drop(self, start: int) -> None:
        """Drop the pieces that end at or before row `start`."""
        self._held = tuple(piece for piece in self._held if piece[0].stop[0] > start)

    def drop_values(self, start: int) -> None:
        """Drop the values of pieces that end at or before row `start`; their validity is kept."""
        self._held = tuple(
            (box, pixels if box.stop[0] > start else Pixels(_NO_VALUES, pixels.valid)) for box, pixels in self._held
        )

    def read_patch(self, box: Box) -> Pixels:
        """Return a copy of the pixels of `box`, mirrored at the edges of the grid where it reaches outside."""
        inside = box.clip(self._whole)
        return _mirrored(self._cut(inside), inside, box, self._whole.stop)

    def valid(self, box: Box) -> NDArray[np.bool_] | None:
        """Return which cells of `box`, inside the rows held, are valid; None: all of them."""
        if all(valid is None for _, (_, valid) in self._held):
            return None
        parts = self._parts(box)
        if all(valid is None for _, _, (_, valid) in parts):
            return None
        whole = np.ones(box.shape, np.bool_)
        for to, at, (_, valid) in parts:
            if valid is not None:
                whole[to] = valid[at]
        return whole

    def observed(self, box: Box) -> bool:
        """Return whether any cell of `box` that is inside the grid is valid; its rows are held."""
        valid = self.valid(box.clip(self._whole))
        return valid is None or bool(valid.any())

    def _cut(self, box: Box) -> Pixels:
        values = np.empty((self._source.channels, *box.shape), self._source.dtype)
        for to, at, pixels in self._parts(box):
            values[(slice(None), *to)] = pixels.values[(slice(None), *at)]
        return Pixels(values, self.valid(box))

    def _parts(self, box: Box) -> list[tuple[Slices, Slices, Pixels]]:
        """Slices in `box` and in the piece of each piece that it touches, and the piece."""
        touching = [(box.clip(piece), piece, pixels) for piece, pixels in self._held]
        return [
            (part.within(box.start).slices, part.within(piece.start).slices, pixels)
            for part, piece, pixels in touching
            if part.size
        ]

    def _ask(self) -> None:
        while len(self._coming) < READERS and (box := next(self._todo, None)) is not None:
            self._coming.append((box, self._pool.submit(self._source.read, box)))


def read_patch(source: Source, box: Box) -> Pixels:
    """Read the pixels of `box`, mirrored at the edges of the grid where it reaches outside: the input of a patch."""
    inside = box.clip(Box.whole(source.grid.shape))
    return _mirrored(source.read(inside), inside, box, source.grid.shape)


def _mirrored(pixels: Pixels, inside: Box, box: Box, shape: tuple[int, ...]) -> Pixels:
    if inside == box:
        return pixels
    values, valid = pixels
    for axis, size in enumerate(shape):
        index = reflect(box.start[axis], box.stop[axis], size) - inside.start[axis]
        values = np.take(values, index, axis + 1)
        valid = None if valid is None else np.take(valid, index, axis)
    return Pixels(values, valid)


def _pieces(needed: Box, block: tuple[int, ...], step: int, readers: int) -> Iterator[Box]:
    """Boxes that cut `needed` along axis 0 where blocks end; every `step` rows where blocks are far taller.

    Rows of several blocks are cut in as many pieces as there are readers, so that no more rows are read ahead.
    """
    height = -(-step // block[0]) * block[0] if block[0] <= 4 * step else step
    top, bottom = needed.start[0], needed.stop[0]
    columns = list(pairwise(_columns(needed.start[-1], needed.stop[-1], block[-1], readers)))
    while top < bottom:
        stop = min((top // height + 1) * height, bottom)
        for left, right in columns:
            yield Box((top, *needed.start[1:-1], left), (stop, *needed.stop[1:-1], right))
        top = stop


def _columns(first: int, stop: int, block: int, parts: int) -> list[int]:
    """Where pieces begin along the last axis, and the last one ends: there blocks end, too."""
    begin, end = first // block, -(-stop // block)
    parts = min(parts, end - begin)
    inner = [(begin + (end - begin) * part // parts) * block for part in range(1, parts)]
    return [first, *inner, stop]
