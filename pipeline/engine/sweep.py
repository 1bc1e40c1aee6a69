"""The sweep: read, predict, blend, decide and write a run of slabs, all at the same time, in bounded memory."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.arrays import arrays_of
from pipeline.engine.blend import Blend
from pipeline.engine.decision import Decision
from pipeline.engine.protocols import Pixels, PlainSource, Predictor, Sink, Source, as_source
from pipeline.engine.reader import READERS, RowBuffer
from pipeline.engine.windows import Weights
from pipeline.engine.writer import OutputStage, SlabWriter
from pipeline.errors import Interrupted, PipelineError
from pipeline.geometry import Box, Lattice
from pipeline.geometry.slabs import Run

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the bytes of the output, beside the pixels and the network."""

    lattice: Lattice
    window: str
    """Name of the blend window."""
    decisions: tuple[Decision, ...]
    """What to write: one array per slab for each decision."""

    @property
    def needs_second_moment(self) -> bool:
        """Whether the squares of the scores are blended too."""
        return any(decision.needs_second_moment for decision in self.decisions)


class SweepObserver:
    """Observer of a sweep, which may stop it. Every method does nothing here; threads of the sweep call them."""

    def patches_done(self, count: int) -> None:
        """Receive the number of patches that were just blended."""

    def slab_done(self, slab: Box) -> None:
        """Receive a slab that has just been written."""

    def should_stop(self) -> bool:
        """Return whether the sweep should end with `Interrupted` before the next patch."""
        return False


NO_OBSERVER = SweepObserver()


class Failure(NamedTuple):
    """A patch on which the network failed twice."""

    patch: Box
    reason: str


_SLICES = 8
"""Fewest slices of a volume to read at a time."""
MAX_FAILED = 16
"""Most patches of a run that may fail; if more do, the cause is not the patches."""


def sweep(
    source: Source | PlainSource,
    predictor: Predictor,
    sink: Sink,
    recipe: Recipe,
    run: Run,
    observer: SweepObserver = NO_OBSERVER,
) -> tuple[Failure, ...]:
    """Segment the consecutive slabs of `run` into `sink`, and return the patches that failed.

    The cells of failed patches are nodata, and slabs with such cells are written, but not as whole ones. Slabs that
    are committed stay committed, whatever is raised later.

    Raises:
        Interrupted: if `observer` stops the sweep.
        Exception: whatever the source or the sink raises, and what the predictor raises if no patch succeeds, or if
            more than `MAX_FAILED` fail.

    """
    source = as_source(source)
    region = Box(run[0].start, run[-1].stop)
    rows = _rows_of(recipe.lattice, region, predictor.batch)
    with ExitStack() as stack:
        at_once = 1 if source.info.sequential else READERS
        readers = stack.enter_context(ThreadPoolExecutor(at_once, "read"))
        network = stack.enter_context(ThreadPoolExecutor(predictor.threads, "predict"))
        writer = stack.enter_context(ThreadPoolExecutor(1, "write"))
        stack.callback(_cancel, readers, network)
        held = RowBuffer(source, _needed(recipe.lattice, rows), _step(recipe.lattice), readers)
        arrays = arrays_of(predictor)
        stage = OutputStage(recipe.decisions, predictor.classes, arrays)
        slabs = SlabWriter(run, sink, stage, writer, observer.slab_done)
        work = _Network(held, predictor, recipe, network, observer)
        blend = Blend(predictor.classes + recipe.needs_second_moment, recipe.lattice, region, arrays)
        for scored in work.scored(rows):
            _settle(scored.row, held, recipe.lattice, slabs)
            slabs.mark_failed(failure.patch for failure in scored.failures)
            for patch, scores, weights in scored.patches:
                if patch.clip(region).size:
                    cells, final = blend.add(patch, scores, weights)
                    _decide(cells.clip(region), cells, final, held, slabs)
        _settle(recipe.lattice.shape[0], held, recipe.lattice, slabs)
        slabs.finish()
        return work.failures()


Row = tuple[int, list[list[Box]]]


def _rows_of(lattice: Lattice, region: Box, batch: int) -> list[Row]:
    """Lattice rows that touch `region`, as groups of patches for one call each.

    Groups are cut from the whole lattice row, so a patch meets the same neighbors in its batch in every run.
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
    start = tuple(map(min, zip(*(patch.start for patch in patches), strict=True)))
    stop = tuple(map(max, zip(*(patch.stop for patch in patches), strict=True)))
    return Box(start, stop).grow(lattice.margin).clip(Box.whole(lattice.shape))


def _step(lattice: Lattice) -> int:
    """Rows to read at a time: those of the next patches, but no sliver of them, and some of a volume's slices.

    A store is read by whole chunks, which hold many slices.
    """
    return max(lattice.patch[0] - lattice.overlap[0], lattice.patch[0] // 4, _SLICES if len(lattice.shape) > 2 else 1)


def _settle(row: int, held: RowBuffer, lattice: Lattice, slabs: SlabWriter) -> None:
    """Pass on the rows before the lattice row at `row`, and drop what no later patch needs."""
    slabs.complete(row)
    held.drop(row - lattice.margin[0])


def _decide(inside: Box, cells: Box, scores: Any, held: RowBuffer, slabs: SlabWriter) -> None:  # noqa: ANN401
    if inside.size:
        slabs.put(inside, scores[(slice(None), *inside.within(cells.start).slices)], held.valid(inside))


class _PatchScores(NamedTuple):
    row: int
    """First row of the lattice row."""
    patches: list[tuple[Box, Any, NDArray[np.float32]]]
    """Patches with their scores (None where nothing was observed, or the network failed) and weights."""
    failures: list[Failure]
    error: Exception | None
    """The first of them."""


class _Network:
    """Scores of the patches in lattice order, computed ahead on a pool with a bounded number in flight."""

    def __init__(
        self, held: RowBuffer, predictor: Predictor, recipe: Recipe, pool: ThreadPoolExecutor, observer: SweepObserver
    ) -> None:
        self._held, self._predictor, self._pool, self._observer = held, predictor, pool, observer
        self._lattice, self._squares = recipe.lattice, recipe.needs_second_moment
        self._weights = Weights(recipe.lattice, recipe.window)
        self._arrays = arrays_of(predictor)
        self._failures: list[Failure] = []
        self._error: Exception | None = None
        self._succeeded = False

    def scored(self, rows: Sequence[Row]) -> Iterator[_PatchScores]:
        """What each group of patches gave, in lattice order."""
        waiting: deque[Future[_PatchScores]] = deque()
        for start, groups in rows:
            self._held.need(start + self._lattice.patch[0] + self._lattice.margin[0])
            for group in groups:
                if len(waiting) > self._predictor.threads:
                    yield self._next(waiting)
                waiting.append(self._pool.submit(self._score, start, group))
        while waiting:
            yield self._next(waiting)

    def _next(self, waiting: deque[Future[_PatchScores]]) -> _PatchScores:
        if self._observer.should_stop():
            raise Interrupted
        scored = waiting.popleft().result()
        self._failures += scored.failures
        self._error = self._error or scored.error
        self._succeeded |= any(scores is not None for _, scores, _ in scored.patches)
        if self._error is not None and len(self._failures) > MAX_FAILED:
            raise self._error
        self._observer.patches_done(len(scored.patches))
        return scored

    def failures(self) -> tuple[Failure, ...]:
        """The patches that failed; raises what the first one did if none succeeded."""
        if self._error is not None and not self._succeeded:
            raise self._error
        return tuple(self._failures)

    def _score(self, row: int, group: Sequence[Box]) -> _PatchScores:
        pixels = [self._held.read_patch(self._lattice.input_box(patch.start)) for patch in group]
        observed = [i for i, (_, valid) in enumerate(pixels) if valid is None or valid.any()]
        planes, errors = self._planes([pixels[i] for i in observed])
        scores = {observed[at]: _clipped(plane, group[observed[at]]) for at, plane in planes.items()}
        failures = [Failure(group[observed[at]], f"{type(error).__name__}: {error}") for at, error in errors.items()]
        patches = [(patch, scores.get(i), self._weights.of(patch)) for i, patch in enumerate(group)]
        return _PatchScores(row, patches, failures, next(iter(errors.values()), None))

    def _planes(self, pixels: Sequence[Pixels]) -> tuple[dict[int, Any], dict[int, Exception]]:
        """Scores by index, and what went wrong with those that have none: if it does, each is tried by itself."""
        if not pixels:
            return {}, {}
        try:
            return dict(enumerate(self._predicted(pixels))), {}
        except PipelineError:
            raise
        except Exception:
            _log.debug("a patch failed and is tried again", exc_info=True)
        scores, errors = {}, {}
        for index, one in enumerate(pixels):
            try:
                scores[index] = self._predicted([one])[0]
            except Exception as error:
                errors[index] = error
        return scores, errors

    def _predicted(self, pixels: Sequence[Pixels]) -> Any:  # noqa: ANN401  (of the predictor's arrays)
        planes = self._predictor(*_batch(pixels))
        if not self._arrays.finite(planes):
            raise ArithmeticError("the network's scores are not finite")
        return self._arrays.with_squares(planes) if self._squares else planes


def _clipped(scores: Any, patch: Box) -> Any:  # noqa: ANN401  (of the predictor's arrays)
    """Scores of the cells inside the grid, where it is smaller than a patch."""
    return scores[(slice(None), *(slice(0, length) for length in patch.shape))]


def _batch(pixels: Sequence[Pixels]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    values = np.stack([p.values for p in pixels]) if len(pixels) > 1 else pixels[0].values[None]
    if all(p.valid is None for p in pixels):
        return values, None
    shape = values.shape[2:]
    return values, np.stack([np.ones(shape, np.bool_) if p.valid is None else p.valid for p in pixels])


def _cancel(*pools: ThreadPoolExecutor) -> None:
    for pool in pools:
        pool.shutdown(wait=False, cancel_futures=True)
