"""Features once: blocks of cells share what the network computes, and each patch is joined of its pieces."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import chain
from math import prod
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.arrays import arrays_of
from pipeline.engine.network import Failure, Network, PatchScores, clipped, reason_of
from pipeline.engine.observer import SweepObserver, check_stop
from pipeline.engine.protocols import BlockPredictor
from pipeline.engine.reader import RowBuffer
from pipeline.engine.recipe import Recipe
from pipeline.errors import PipelineError
from pipeline.geometry import Block, Blocks, Box, Cut

_log = logging.getLogger(__name__)

_AHEAD = 2
"""Patches whose scores are finished ahead of the blend."""


class _Given(NamedTuple):
    """What a block gives to a patch, or what all of its blocks give together."""

    piece: Any = None
    error: Exception | None = None
    repeated: bool = False


class _Pieces:
    """Pieces of patches whose other blocks are not computed yet. Methods may be called from many threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._there: dict[Box, dict[Box, tuple[Cut, _Given]]] = {}

    def put(self, patch: Box, cut: Cut, given: _Given) -> list[tuple[Cut, _Given]]:
        """Add a piece; return all, in the order of where they are in the patch, if these are the whole of it."""
        with self._lock:
            there = self._there.setdefault(patch, {})
            there[cut.part] = cut, given
            if sum(part.size for part in there) < prod(cut.patch):
                return []
            return [piece for _, piece in sorted(self._there.pop(patch).items(), key=lambda item: item[0])]


class BlockNetwork(Network):
    """Patches joined of what `blocks` give them. Rows of blocks are computed one ahead of the one that is blended."""

    def __init__(self, predictor: BlockPredictor, recipe: Recipe, blocks: Blocks, region: Box) -> None:
        super().__init__(recipe, predictor.classes, arrays_of(predictor))
        self._predictor, self._blocks, self._region = predictor, blocks, region
        self._pieces = _Pieces()
        self._joined: dict[Box, _Given] = {}
        """Patches whose blocks are all computed, until they are blended; none without observed cells."""
        self.needed = blocks.seen(blocks.touching(region))
        self.reach = blocks.reach

    def scored(self, held: RowBuffer, pool: Executor, observer: SweepObserver) -> Iterator[PatchScores]:
        """Yield what each patch gave."""
        ahead: deque[list[tuple[Block, Future[None]]]] = deque()
        with ThreadPoolExecutor(1, "finish") as finish:
            for row in self._blocks.rows(self._region):
                held.need(max(row[0].seen.stop[0], row[0].patches[-1].stop[0] + self._recipe.lattice.margin[0]))
                ahead.append([(block, pool.submit(self._compute, held, block)) for block in row])
                if len(ahead) > 1:
                    patches = self._patches(ahead.popleft(), observer)
                    held.drop_values(row[0].seen.start[0])
                    yield from self._finished(patches, finish, observer)
            while ahead:
                yield from self._finished(self._patches(ahead.popleft(), observer), finish, observer)

    def _patches(self, row: Sequence[tuple[Block, Future[None]]], observer: SweepObserver) -> list[Box]:
        """Wait until a row of blocks is computed, and return the patches that end in it."""
        return sorted(chain(*(self._ended(block, done, observer) for block, done in row)))

    def _finished(self, patches: Sequence[Box], finish: Executor, observer: SweepObserver) -> Iterator[PatchScores]:
        waiting: deque[Future[PatchScores]] = deque()
        for patch in patches:
            if len(waiting) >= _AHEAD:
                yield self._next(waiting, observer)
            waiting.append(finish.submit(self._scores, patch, self._joined.pop(patch, _Given())))
        while waiting:
            yield self._next(waiting, observer)

    def _ended(self, block: Block, done: Future[None], observer: SweepObserver) -> list[Box]:
        """Wait until a block is computed, and return the patches that end in it."""
        check_stop(observer)
        done.result()
        patches = self._wanted(block.ending)
        observer.patches_done(len(patches))
        return patches

    def _next(self, waiting: deque[Future[PatchScores]], observer: SweepObserver) -> PatchScores:
        scored = super()._next(waiting, observer)
        observer.patches_repeated(scored.repeated)
        return scored

    def _scores(self, patch: Box, given: _Given) -> PatchScores:
        scores, error = None, given.error
        if given.piece is not None and error is None:
            try:
                scores = clipped(self._checked(self._predictor.scores(given.piece)[None])[0], patch)
            except ArithmeticError as wrong:
                error = wrong
        failures = [] if error is None else [Failure(patch, reason_of(error))]
        return PatchScores(patch.start[0], [(patch, scores, self._weights.of(patch))], failures, error, given.repeated)

    def _wanted(self, patches: Sequence[Box]) -> list[Box]:
        return [patch for patch in patches if patch.clip(self._region).size]

    def _compute(self, held: RowBuffer, block: Block) -> None:
        """Compute a block, and join the patches that only lacked it."""
        lattice = self._recipe.lattice
        observed = [patch for patch in self._wanted(block.patches) if held.observed(patch.grow(lattice.margin))]
        if not observed:
            return
        cuts = [block.cut(patch, lattice.patch) for patch in observed]
        for patch, cut, given in zip(observed, cuts, self._given(held, block, cuts), strict=True):
            if pieces := self._pieces.put(patch, cut, given):
                self._joined[patch] = self._join(pieces)

    def _join(self, pieces: Sequence[tuple[Cut, _Given]]) -> _Given:
        repeated = all(given.repeated for _, given in pieces)
        errors = [given.error for _, given in pieces if given.error is not None]
        if errors:
            return _Given(error=errors[0])
        try:
            joined = self._predictor.joined([given.piece for _, given in pieces], [cut for cut, _ in pieces])
        except ArithmeticError as error:
            return _Given(error=error)
        return _Given(joined, repeated=repeated)

    def _given(self, held: RowBuffer, block: Block, cuts: Sequence[Cut]) -> list[_Given]:
        """Compute a block, unless the same one was seen before; if that fails, once more."""
        values, valid = held.read_patch(block.seen)
        key = self._repeats.key(values, valid, tuple(cuts))
        if (known := self._repeats.get(key)) is not None:
            return [_Given(piece, repeated=True) for piece in known]
        try:
            pieces = self._twice(values, valid, cuts)
        except PipelineError:
            raise
        except Exception as error:
            return [_Given(error=error) for _ in cuts]
        self._repeats.keep(key, pieces, sum(piece.nbytes for piece in pieces))
        return [_Given(piece) for piece in pieces]

    def _twice(self, values: NDArray[Any], valid: NDArray[np.bool_] | None, cuts: Sequence[Cut]) -> Sequence[Any]:
        try:
            return self._predictor.pieces(values, valid, cuts)
        except PipelineError:
            raise
        except Exception:
            _log.debug("a block failed and is tried again", exc_info=True)
        return self._predictor.pieces(values, valid, cuts)
