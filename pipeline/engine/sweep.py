"""The sweep: read, predict, blend, decide and write a run of bands, all at the same time, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.blend import Accumulator
from pipeline.engine.decision import Decision
from pipeline.engine.protocols import Pixels, Predictor, Sink, Source
from pipeline.engine.rows import READERS, Rows
from pipeline.engine.window import Weights
from pipeline.errors import Interrupted
from pipeline.geometry import Box, Lattice
from pipeline.geometry.bands import Run

Scored = list[tuple[Box, NDArray[np.float32]]]


@dataclass(frozen=True)
class Recipe:
    """All that decides the bytes of the output, beside the pixels and the network."""

    lattice: Lattice
    window: str
    """Name of the blend window."""
    decision: Decision


@dataclass(frozen=True)
class Watch:
    """How the outside follows a sweep, and stops it."""

    predicted: Callable[[int], None] = lambda patches: None
    """Called with the number of patches that were just blended."""
    committed: Callable[[Box], None] = lambda band: None
    """Called when a band has been written."""
    stop: Event | None = None
    """When set, the sweep ends with `Interrupted` before the next patch."""


def sweep(source: Source, predictor: Predictor, sink: Sink, recipe: Recipe, run: Run, watch: Watch = Watch()) -> None:
    """Segment the consecutive bands of `run` into `sink`.

    Raises whatever the source, the predictor or the sink raises; bands committed by then stay committed.
    """
    region = Box(run[0].start, run[-1].stop)
    rows = _rows_of(recipe.lattice, region, predictor.batch)
    with ExitStack() as stack:
        readers = stack.enter_context(ThreadPoolExecutor(READERS, "read"))
        network = stack.enter_context(ThreadPoolExecutor(predictor.threads, "predict"))
        writer = stack.enter_context(ThreadPoolExecutor(1, "write"))
        stack.callback(_cancel, readers, network)
        held = Rows(source, _needed(recipe.lattice, rows), _step(recipe.lattice), readers)
        bands = _Bands(run, sink, recipe.decision, writer, watch)
        work = _Network(held, predictor, recipe, network, watch)
        _blend(work.scored(rows), held, recipe, Accumulator(predictor.classes, region, recipe.lattice), bands)
        bands.finish()


Row = tuple[int, list[list[Box]]]


def _rows_of(lattice: Lattice, region: Box, batch: int) -> list[Row]:
    """Lattice rows that touch `region`, as groups of patches for one call each.

    Groups are cut from the whole lattice row, so a patch meets the same neighbours in its batch in every run.
    """
    rows = []
    for start, patches in lattice.rows():
        groups = [patches[i : i + batch] for i in range(0, len(patches), batch)]
        touching = [group for group in groups if any(patch.clip(region).size for patch in group)]
        if touching:
            rows.append((start, touching))
    return rows


def _needed(lattice: Lattice, rows: Sequence[Row]) -> Box:
    """The cells that the network sees for `rows`."""
    patches = [patch for _, groups in rows for group in groups for patch in group]
    start = tuple(min(axis) for axis in zip(*(patch.start for patch in patches), strict=True))
    stop = tuple(max(axis) for axis in zip(*(patch.stop for patch in patches), strict=True))
    return Box(start, stop).grow(lattice.margin).clip(Box.whole(lattice.shape))


def _step(lattice: Lattice) -> int:
    """Rows to read at a time: those of the next patches, but no sliver of them."""
    return max(lattice.patch[0] - lattice.overlap[0], lattice.patch[0] // 4)


class _Network:
    """Scores of the patches in lattice order, computed ahead on a pool with a bounded number in flight."""

    def __init__(
        self, held: Rows, predictor: Predictor, recipe: Recipe, pool: ThreadPoolExecutor, watch: Watch
    ) -> None:
        self._held, self._predictor, self._pool, self._watch = held, predictor, pool, watch
        self._lattice = recipe.lattice
        self._weights = Weights(recipe.lattice, recipe.window)

    def scored(self, rows: Sequence[Row]) -> Iterator[tuple[int, Scored]]:
        """Start of the lattice row, and the weighted scores of one group of its patches, in lattice order."""
        waiting: deque[tuple[int, int, Future[Scored]]] = deque()
        for start, groups in rows:
            self._held.need(start + self._lattice.patch[0] + self._lattice.margin[0])
            for group in groups:
                if len(waiting) > self._predictor.threads:
                    yield self._next(waiting)
                waiting.append((start, len(group), self._pool.submit(self._score, group)))
        while waiting:
            yield self._next(waiting)

    def _next(self, waiting: deque[tuple[int, int, Future[Scored]]]) -> tuple[int, Scored]:
        if self._watch.stop is not None and self._watch.stop.is_set():
            raise Interrupted("stopped; run the same command again to go on from here")
        start, patches, future = waiting.popleft()
        scored = future.result()
        self._watch.predicted(patches)
        return start, scored

    def _score(self, group: Sequence[Box]) -> Scored:
        """Weighted scores of the patches in which anything was observed."""
        pixels = [self._held.seen(self._lattice.seen_at(patch.start)) for patch in group]
        observed = [i for i, (_, valid) in enumerate(pixels) if valid is None or valid.any()]
        if not observed:
            return []
        scores = self._predictor(*_batch([pixels[i] for i in observed]))
        return [(group[i], self._weighted(group[i], plane)) for i, plane in zip(observed, scores, strict=True)]

    def _weighted(self, patch: Box, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        part = scores[(slice(None), *(slice(0, n) for n in patch.shape))]
        part *= self._weights.of(patch)
        return part


def _batch(pixels: Sequence[Pixels]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    values = np.stack([p.values for p in pixels])
    if all(p.valid is None for p in pixels):
        return values, None
    shape = values.shape[2:]
    return values, np.stack([np.ones(shape, np.bool_) if p.valid is None else p.valid for p in pixels])


class _Bands:
    """The output side: results are decided into the band under way, and full bands are written behind the sweep."""

    def __init__(self, run: Run, sink: Sink, decision: Decision, pool: ThreadPoolExecutor, watch: Watch) -> None:
        self._bands = deque(run)
        self._sink, self._decision, self._pool, self._watch = sink, decision, pool, watch
        self._out = self._room(run[0])
        self._writing: Future[None] | None = None

    def put(self, top: int, scores: NDArray[np.float32], valid: NDArray[np.bool_] | None) -> None:
        """Decide the rows of `scores`, of which the first is `top`, and pass on each band that they complete."""
        done = 0
        while done < scores.shape[1]:
            band = self._bands[0]
            count = min(scores.shape[1] - done, band.stop[0] - top - done)
            rows = slice(done, done + count)
            self._decide(top + done - band.start[0], scores[:, rows], None if valid is None else valid[rows])
            done += count
            if top + done == band.stop[0]:
                self._pass_on()

    def _decide(self, at: int, scores: NDArray[np.float32], valid: NDArray[np.bool_] | None) -> None:
        planes = (slice(None),) * len(self._decision.planes)
        out = self._out[(*planes, slice(at, at + scores.shape[1]))]
        self._decision(scores, out)
        if valid is not None:
            out[..., ~valid] = self._decision.nodata

    def _room(self, band: Box) -> NDArray[Any]:
        return np.empty((*self._decision.planes, *band.shape), self._decision.dtype)

    def finish(self) -> None:
        """Wait for the last write."""
        if self._writing is not None:
            self._writing.result()

    def _pass_on(self) -> None:
        self.finish()
        self._writing = self._pool.submit(self._write, self._bands.popleft(), self._out)
        if self._bands:
            self._out = self._room(self._bands[0])

    def _write(self, band: Box, out: NDArray[Any]) -> None:
        self._sink.write(band, out)
        self._watch.committed(band)


def _blend(scored: Iterator[tuple[int, Scored]], held: Rows, recipe: Recipe, sums: Accumulator, bands: _Bands) -> None:
    """Add up the scores; when a lattice row begins, the rows above it are final."""
    for start, group in scored:
        _settle(start, held, recipe, sums, bands)
        for patch, weighted in group:
            sums.add(patch, weighted)
    _settle(recipe.lattice.shape[0], held, recipe, sums, bands)


def _settle(start: int, held: Rows, recipe: Recipe, sums: Accumulator, bands: _Bands) -> None:
    """Decide the rows before `start` and let go of what no later patch needs."""
    rows = sums.rows_before(start)
    if rows.size:
        bands.put(rows.start[0], sums.final(rows), held.valid(rows))
        sums.roll(rows.stop[0])
        held.drop(start - recipe.lattice.margin[0])


def _cancel(*pools: ThreadPoolExecutor) -> None:
    for pool in pools:
        pool.shutdown(wait=False, cancel_futures=True)
