"""The network's side of the sweep: scores of patches in lattice order, computed ahead of the blend."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.arrays import arrays_of
from pipeline.engine.observer import SweepObserver, check_stop
from pipeline.engine.protocols import Pixels, Predictor
from pipeline.engine.reader import RowBuffer
from pipeline.engine.recipe import Recipe
from pipeline.engine.repeats import Repeats
from pipeline.engine.windows import Weights
from pipeline.errors import PipelineError
from pipeline.geometry import Box, Lattice

_log = logging.getLogger(__name__)

MAX_FAILED = 16
"""Most patches of a run that may fail; if more do, the cause is not the patches."""


class Failure(NamedTuple):
    """A patch on which the network failed twice."""

    patch: Box
    reason: str


class PatchScores(NamedTuple):
    """What the network gave for patches of one lattice row."""

    row: int
    """First row of the lattice row."""
    patches: list[tuple[Box, Any, NDArray[np.float32]]]
    """Patches with their scores (None where nothing was observed, or the network failed) and weights."""
    failures: list[Failure]
    error: Exception | None
    """The first of them."""
    repeated: int = 0
    """Patches that were not computed, for the same values were seen before."""


class Network(ABC):
    """What computes the patches that touch a region."""

    needed: Box
    """The cells that it sees; some may lie outside the grid."""
    reach: int
    """Rows before a lattice row that it, or a later one, sees."""

    def __init__(self, recipe: Recipe, classes: int, arrays: Any) -> None:  # noqa: ANN401  (an `Arrays`)
        self._recipe, self._classes, self._arrays = recipe, classes, arrays
        self._weights = Weights(recipe.lattice, recipe.window)
        self._repeats = Repeats()
        self._failures: list[Failure] = []
        self._error: Exception | None = None
        self._succeeded = False

    @abstractmethod
    def scored(self, held: RowBuffer, pool: Executor, observer: SweepObserver) -> Iterator[PatchScores]:
        """Yield scores of the patches in lattice order, computed on `pool` from the rows in `held`.

        Raises:
            Interrupted: if `observer` stops the sweep.
            Exception: what the predictor raises if more than `MAX_FAILED` patches fail.

        """
        ...

    def failures(self) -> tuple[Failure, ...]:
        """Return the patches that failed.

        Raises:
            Exception: what the first one raised if none succeeded.

        """
        if self._error is not None and not self._succeeded:
            raise self._error
        return tuple(self._failures)

    def _next(self, waiting: deque[Future[PatchScores]], observer: SweepObserver) -> PatchScores:
        """Return the first of what is waited for, and count what failed."""
        check_stop(observer)
        scored = waiting.popleft().result()
        self._failures += scored.failures
        self._error = self._error or scored.error
        self._succeeded |= any(scores is not None for _, scores, _ in scored.patches)
        if self._error is not None and len(self._failures) > MAX_FAILED:
            raise self._error
        return scored

    def _checked(self, planes: Any) -> Any:  # noqa: ANN401  (of the predictor's arrays)
        """Return scores `(n, classes, *patch)` with their squares, if those are needed and not given."""
        if not self._arrays.finite(planes):
            raise ArithmeticError("the network's scores are not finite")
        lacking = self._recipe.needs_second_moment and planes.shape[1] == self._classes
        return self._arrays.with_squares(planes) if lacking else planes


Row = tuple[int, list[list[Box]]]


class PatchNetwork(Network):
    """Each patch by itself, in groups of the predictor's batch."""

    def __init__(self, predictor: Predictor, recipe: Recipe, region: Box) -> None:
        super().__init__(recipe, predictor.classes, arrays_of(predictor))
        self._predictor = predictor
        self._rows = _rows_of(recipe.lattice, region, predictor.batch)
        self.needed = _needed(recipe.lattice, self._rows)
        self.reach = recipe.lattice.margin[0]

    def scored(self, held: RowBuffer, pool: Executor, observer: SweepObserver) -> Iterator[PatchScores]:
        """Yield what each group of patches gave."""
        lattice = self._recipe.lattice
        waiting: deque[Future[PatchScores]] = deque()
        for start, groups in self._rows:
            held.need(start + lattice.patch[0] + lattice.margin[0])
            for group in groups:
                if len(waiting) > self._predictor.threads:
                    yield self._next(waiting, observer)
                waiting.append(pool.submit(self._score, held, start, group))
        while waiting:
            yield self._next(waiting, observer)

    def _next(self, waiting: deque[Future[PatchScores]], observer: SweepObserver) -> PatchScores:
        scored = super()._next(waiting, observer)
        observer.patches_done(len(scored.patches))
        observer.patches_repeated(scored.repeated)
        return scored

    def _score(self, held: RowBuffer, row: int, group: Sequence[Box]) -> PatchScores:
        pixels = [held.read_patch(self._recipe.lattice.input_box(patch.start)) for patch in group]
        observed = [i for i, (_, valid) in enumerate(pixels) if valid is None or valid.any()]
        planes, errors, repeated = self._remembered([pixels[i] for i in observed])
        scores = {observed[at]: clipped(plane, group[observed[at]]) for at, plane in planes.items()}
        failures = [Failure(group[observed[at]], reason_of(error)) for at, error in errors.items()]
        patches = [(patch, scores.get(i), self._weights.of(patch)) for i, patch in enumerate(group)]
        return PatchScores(row, patches, failures, next(iter(errors.values()), None), repeated)

    def _remembered(self, pixels: Sequence[Pixels]) -> tuple[dict[int, Any], dict[int, Exception], int]:
        """Scores and errors as in `_planes`, and how many were not computed."""
        keys = [self._repeats.key(*each) for each in pixels]
        known = {at: scores for at, key in enumerate(keys) if (scores := self._repeats.get(key)) is not None}
        left = [at for at in range(len(pixels)) if at not in known]
        planes, errors = self._planes([pixels[at] for at in left])
        for at, scores in planes.items():
            if (key := keys[left[at]]) is not None:
                self._repeats.keep(key, self._arrays.copy(scores), scores.nbytes)
        computed = {left[at]: scores for at, scores in planes.items()}
        return known | computed, {left[at]: error for at, error in errors.items()}, len(known)

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
        return self._checked(self._predictor(*_batch(pixels)))


def reason_of(error: Exception) -> str:
    """Describe why a patch failed."""
    return f"{type(error).__name__}: {error}"


def clipped(scores: Any, patch: Box) -> Any:  # noqa: ANN401  (of the predictor's arrays)
    """Return the scores of the cells inside the grid, where it is smaller than a patch."""
    return scores[(slice(None), *(slice(0, length) for length in patch.shape))]


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
    return bounds([patch for _, groups in rows for group in groups for patch in group]).grow(lattice.margin)


def bounds(boxes: Sequence[Box]) -> Box:
    """Return the smallest box that contains all of `boxes`."""
    start = tuple(map(min, zip(*(box.start for box in boxes), strict=True)))
    return Box(start, tuple(map(max, zip(*(box.stop for box in boxes), strict=True))))


def _batch(pixels: Sequence[Pixels]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    values = np.stack([p.values for p in pixels]) if len(pixels) > 1 else pixels[0].values[None]
    if all(p.valid is None for p in pixels):
        return values, None
    shape = values.shape[2:]
    return values, np.stack([np.ones(shape, np.bool_) if p.valid is None else p.valid for p in pixels])
