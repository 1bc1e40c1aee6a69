"""Features once: blocks of neighboring patches share what the network computes, and each patch takes its part of it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.arrays import arrays_of
from pipeline.engine.network import Failure, Network, PatchScores, bounds, clipped, reason_of
from pipeline.engine.observer import SweepObserver, check_stop
from pipeline.engine.protocols import BlockPredictor
from pipeline.engine.reader import RowBuffer
from pipeline.engine.recipe import Recipe
from pipeline.errors import PipelineError
from pipeline.geometry import Block, Blocks, Box

_log = logging.getLogger(__name__)

_AHEAD = 4
"""Patches whose scores are finished ahead of the blend."""


class _BlockResult(NamedTuple):
    parts: dict[Box, Any]
    """By patch what its scores are made of; none for a patch without observed cells."""
    failed: tuple[Box, ...] = ()
    error: Exception | None = None
    repeated: int = 0


class BlockNetwork(Network):
    """Patches of each block of `blocks` together. Rows of blocks are computed one ahead of the one that is blended."""

    def __init__(self, predictor: BlockPredictor, recipe: Recipe, blocks: Blocks, region: Box) -> None:
        super().__init__(recipe, predictor.classes, arrays_of(predictor))
        self._predictor, self._region = predictor, region
        self._rows = _rows_touching(blocks, region)
        self.needed = bounds([block.seen for row in self._rows for block in row])
        self.reach = blocks.reach

    def scored(self, held: RowBuffer, pool: Executor, observer: SweepObserver) -> Iterator[PatchScores]:
        """Yield what each patch gave."""
        ahead: deque[list[Future[_BlockResult]]] = deque()
        with ThreadPoolExecutor(1, "finish") as finish:
            for row in self._rows:
                held.need(max(block.seen.stop[0] for block in row))
                ahead.append([pool.submit(self._computed, held, block) for block in row])
                if len(ahead) > 1:
                    yield from self._finished(ahead.popleft(), finish, observer)
            while ahead:
                yield from self._finished(ahead.popleft(), finish, observer)

    def _finished(
        self, blocks: Sequence[Future[_BlockResult]], finish: Executor, observer: SweepObserver
    ) -> Iterator[PatchScores]:
        results = [self._result(block, observer) for block in blocks]
        parts = dict(chain(*(result.parts.items() for result in results)))
        errors = {patch: result.error for result in results for patch in result.failed}
        waiting: deque[Future[PatchScores]] = deque()
        for patch in sorted(chain(parts, errors)):
            if len(waiting) >= _AHEAD:
                yield self._next(waiting, observer)
            waiting.append(finish.submit(self._scores, patch, parts.get(patch), errors.get(patch)))
        while waiting:
            yield self._next(waiting, observer)

    def _result(self, block: Future[_BlockResult], observer: SweepObserver) -> _BlockResult:
        check_stop(observer)
        result = block.result()
        observer.patches_done(len(result.parts) + len(result.failed))
        observer.patches_repeated(result.repeated)
        return result

    def _scores(self, patch: Box, part: Any, error: Exception | None) -> PatchScores:  # noqa: ANN401
        scores = None
        if part is not None:
            try:
                scores = clipped(self._checked(self._predictor.scores(part)[None])[0], patch)
            except ArithmeticError as wrong:
                error = wrong
        failures = [] if error is None else [Failure(patch, reason_of(error))]
        return PatchScores(patch.start[0], [(patch, scores, self._weights.of(patch))], failures, error)

    def _computed(self, held: RowBuffer, block: Block) -> _BlockResult:
        """Compute a block; if that fails, once more."""
        values, valid = held.read_patch(block.seen)
        wanted = [patch for patch in block.patches if patch.clip(self._region).size]
        places = {patch: block.place(patch, self._recipe.lattice.patch) for patch in wanted}
        margin = self._recipe.lattice.margin
        observed = [p for p in wanted if valid is None or valid[places[p].grow(margin).slices].any()]
        parts: dict[Box, Any] = dict.fromkeys(wanted)
        if not observed:
            return _BlockResult(parts)
        inside = tuple(places[patch] for patch in observed)
        key = self._repeats.key(values, valid, inside)
        if (known := self._repeats.get(key)) is not None:
            return _BlockResult(parts | dict(zip(observed, known, strict=True)), repeated=len(observed))
        try:
            computed = self._twice(values, valid, inside)
            self._repeats.keep(key, computed)
        except PipelineError:
            raise
        except Exception as error:
            return _BlockResult({p: None for p in wanted if p not in observed}, tuple(observed), error)
        return _BlockResult(parts | dict(zip(observed, computed, strict=True)))

    def _twice(self, values: NDArray[Any], valid: NDArray[np.bool_] | None, places: Sequence[Box]) -> Sequence[Any]:
        try:
            return self._predictor.parts(values, valid, places)
        except PipelineError:
            raise
        except Exception:
            _log.debug("a block failed and is tried again", exc_info=True)
        return self._predictor.parts(values, valid, places)


def _rows_touching(blocks: Blocks, region: Box) -> list[list[Block]]:
    """Rows of blocks with patches that touch `region`, and of those only such blocks."""
    touching = ([block for block in row if _touches(block, region)] for _, row in blocks.rows())
    return [row for row in touching if row]


def _touches(block: Block, region: Box) -> bool:
    return any(patch.clip(region).size for patch in block.patches)
