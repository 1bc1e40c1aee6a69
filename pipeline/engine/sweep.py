"""The sweep: read, predict, blend, decide and write a run of slabs, all at the same time, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from math import prod
from typing import cast

from pipeline.engine.arrays import Arrays, HostArrays, arrays_of
from pipeline.engine.blend import Blend, Sums
from pipeline.engine.block_network import BlockNetwork
from pipeline.engine.fused import LOADER, asking
from pipeline.engine.network import Failure, Network, PatchNetwork, PatchScores
from pipeline.engine.observer import NO_OBSERVER, SweepObserver
from pipeline.engine.protocols import BlockPredictor, PlainSource, Predictor, Sink, Source, as_source
from pipeline.engine.reader import RowBuffer, readers_of
from pipeline.engine.recipe import Recipe
from pipeline.engine.writer import OutputStage, SlabWriter
from pipeline.geometry import Box, Lattice
from pipeline.geometry.slabs import Run

_SLICES = 8
"""Fewest slices of a volume to read at a time."""


def sweep(
    source: Source | PlainSource,
    predictor: Predictor | BlockPredictor,
    sink: Sink,
    recipe: Recipe,
    run: Run,
    observer: SweepObserver = NO_OBSERVER,
) -> tuple[Failure, ...]:
    """Segment the consecutive slabs of `run` into `sink`, and return the patches that failed.

    The cells of failed patches are nodata, and slabs with such cells are written, but not as whole ones. Slabs that
    are committed stay committed, whatever is raised later.

    Args:
        source: The input.
        predictor: The network; a `BlockPredictor` if the recipe has blocks.
        sink: The output.
        recipe: What decides the bytes of the output.
        run: The slabs.
        observer: Follows the sweep, and may stop it.

    Raises:
        Interrupted: if `observer` stops the sweep.
        Exception: whatever the source or the sink raises, and what the predictor raises if no patch succeeds, or if
            more than `pipeline.engine.network.MAX_FAILED` fail.

    """
    source = as_source(source)
    lattice, region = recipe.lattice, Box(run[0].start, run[-1].stop)
    network = _network(predictor, recipe, region)
    with ExitStack() as stack:
        readers = stack.enter_context(ThreadPoolExecutor(readers_of(source.info), "read"))
        pool = stack.enter_context(ThreadPoolExecutor(predictor.threads, "predict"))
        writer = stack.enter_context(ThreadPoolExecutor(1, "write"))
        stack.callback(_cancel, readers, pool)
        held = RowBuffer(source, network.needed.clip(Box.whole(source.grid.shape)), _step(lattice), readers)
        arrays = arrays_of(predictor)
        stage = OutputStage(recipe.decisions, predictor.classes, arrays)
        slabs = SlabWriter(run, sink, stage, writer, observer.slab_done)
        blend = Blend(predictor.classes + recipe.needs_second_moment, lattice, region, arrays)
        for scored in _watched(network.scored(held, pool, observer), arrays, _added(lattice, region)):
            slabs.complete(scored.row)
            slabs.mark_failed(failure.patch for failure in scored.failures)
            held.drop(scored.row - network.reach)
            for patch, scores, weights in scored.patches:
                if patch.clip(region).size:
                    _decide(slabs, blend.add(patch, scores, weights), region, held)
        slabs.complete(lattice.shape[0])
        slabs.finish()
        return network.failures()


def _network(predictor: Predictor | BlockPredictor, recipe: Recipe, region: Box) -> Network:
    if recipe.blocks is None:
        return PatchNetwork(cast("Predictor", predictor), recipe, region)
    return BlockNetwork(cast("BlockPredictor", predictor), recipe, recipe.blocks, region)


def _watched(scored: Iterable[PatchScores], arrays: Arrays, cells: int) -> Iterable[PatchScores]:
    """Ask for kernels if scores of the host come faster than they are blended."""
    return asking(scored, partial(LOADER.ask, cells)) if isinstance(arrays, HostArrays) else scored


def _added(lattice: Lattice, region: Box) -> int:
    """Return the cells of the patches that touch a region, all together: where they overlap, each counts."""
    return prod(len(starts) * side for starts, side in zip(lattice.touching(region), lattice.patch, strict=True))


def _step(lattice: Lattice) -> int:
    """Rows to read at a time: those of the next patches, but no sliver of them, and some of a volume's slices.

    A store is read by whole chunks, which hold many slices.
    """
    return max(lattice.patch[0] - lattice.overlap[0], lattice.patch[0] // 4, _SLICES if len(lattice.shape) > 2 else 1)


def _decide(slabs: SlabWriter, final: Iterable[tuple[Box, Sums]], region: Box, held: RowBuffer) -> None:
    """Decide those of the cells that are final that are in the region."""
    for cells, sums in final:
        inside = cells.clip(region)
        if inside.size:
            slabs.put(inside, sums[inside.within(cells.start).slices], held.valid(inside))


def _cancel(*pools: ThreadPoolExecutor) -> None:
    for pool in pools:
        pool.shutdown(wait=False, cancel_futures=True)
