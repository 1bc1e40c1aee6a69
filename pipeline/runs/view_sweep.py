"""The sweep of one view of a prepared job: what the engine is given, where it writes, and how much memory it needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path

from pipeline.engine import Decision, Recipe, Scores
from pipeline.engine.blend import COMPENSATED_OVERLAPS
from pipeline.errors import RequestError
from pipeline.geometry import Box, Grid, Lattice, cut_slabs
from pipeline.geometry.partition import split_for_workers
from pipeline.geometry.slabs import Run
from pipeline.jobs.job import Resources
from pipeline.runs.prepared import PreparedJob, bytes_per_cell
from pipeline.runs.views import View

SLAB_ROWS = {2: 1024, 3: 32}
"""Rows of a slab, and of a chunk of the store, by number of axes."""

READ_ROWS = {2: 512, 3: 32}
"""Rows that are read at a time, at most, where patches are no taller; by number of axes."""

STRIP = {2: 1024, 3: 256}
"""Columns of a chunk of the store, by number of axes."""

TILE = 64
"""Columns and rows of a slice whose views are averaged at a time."""

_WIDEST = 2048
"""Channels of features, at most."""


@dataclass(frozen=True)
class ViewSweep:
    """The sweep of one view of a job."""

    prepared: PreparedJob
    view: View

    @property
    def grid(self) -> Grid:
        """The grid as it is swept."""
        return self.view.grid

    @property
    def lattice(self) -> Lattice:
        """The lattice of patches on that grid."""
        return self.view.lattice

    @property
    def folder(self) -> Path:
        """Folder of unfinished work of this view, with its ledger."""
        return self.prepared.work / f"{self.view.name}" if self.prepared.averaged else self.prepared.work

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What is written of this view: labels and layers, or scores to be averaged."""
        return (self.scores,) if self.prepared.averaged else self.prepared.decisions

    @property
    def scores(self) -> Scores:
        """The scores that are kept of one of several views; with their squares, if a layer needs them."""
        squares = any(layer.decision.needs_second_moment for layer in self.prepared.layers)
        return Scores((len(self.prepared.card.classes) + squares,), needs_second_moment=squares)

    @property
    def recipe(self) -> Recipe:
        """The recipe of the engine."""
        return Recipe(self.lattice, self.prepared.window, self.decisions, self.view.blocks)

    def slabs(self, resources: Resources) -> tuple[Box, ...]:
        """Return the slabs of the grid, cut into strips if rows are too wide for the memory.

        Raises:
            RequestError: If the height is not a multiple of a chunk, or the memory too small for the narrowest strip.

        """
        return _cut(self.grid.shape, resources, self.memory, self.prepared.held)

    def runs(self, slabs: Sequence[Box], workers: int) -> tuple[Run, ...]:
        """Share slabs of the grid among workers."""
        return split_for_workers(self.lattice, slabs, workers, STRIP[len(self.grid.shape)], self.view.blocks)

    def memory(self, width: int | None = None) -> int:
        """Return the bytes that the sweep holds: what is carried over, rows read ahead, slabs, a block of the file.

        Args:
            width: Columns of a strip; None: whole rows.

        """
        *rows, columns = self.grid.shape
        across = prod(rows[1:]) * min(columns, (width or columns) + self.lattice.patch[-1])
        written = 3 * bytes_per_cell(self.decisions) * SLAB_ROWS[len(self.grid.shape)]
        return self.prepared.held + across * (self._carried() + self._shared() + self._read() + written)

    def _carried(self) -> int:
        """Bytes of the sums that are carried over, for each column."""
        planes = 2 if self.lattice.max_overlaps > COMPENSATED_OVERLAPS else 1
        return (
            4 * planes * (len(self.prepared.card.classes) + self.recipe.needs_second_moment) * self.lattice.overlap[0]
        )

    def _read(self) -> int:
        """Bytes of the rows that are read, for each column."""
        patch, overlap, margin = self.lattice.patch[0], self.lattice.overlap[0], self.lattice.margin[0]
        ahead = 3 * max(patch - overlap, READ_ROWS[len(self.grid.shape)])
        return self.prepared.channels * self.prepared.itemsize * (patch + 2 * margin + ahead + self._read_for_blocks())

    def _read_for_blocks(self) -> int:
        """Rows that are read beyond those of one patch: of a row of blocks, of the next one, and below it."""
        if self.view.blocks is None:
            return 0
        patch = self.lattice.patch[0]
        return 2 * max(self.view.blocks.size[0], patch) + max(self.view.blocks.halo[0], patch)

    def _shared(self) -> int:
        """Bytes, for each column, of patches whose features are shared: until they are joined, and until blended.

        Where a block ends, the rows of patches that go on are kept as the direct part of the head and as averages; of
        joined ones, coarse scores. All this is there for two rows of blocks.
        """
        units, blocks = self.view.units, self.view.blocks
        if units is None or blocks is None:
            return 0
        network = self.prepared.card.pspnet
        dense = prod(model / (native * units.stride) for model, native in zip(units.model, units.native, strict=True))
        step, *steps = (
            patch - overlap for patch, overlap in zip(self.lattice.patch, self.lattice.overlap, strict=True)
        )
        rows = range(self.lattice.overlap[0], 0, -step)
        direct = sum(rows) * dense * network.direct_channels
        averages = len(rows) * sum(side**2 for side in network.bins) * _WIDEST / prod(steps)
        patches = ceil(max(blocks.size[0], self.lattice.patch[0]) / step) / prod(steps)
        coarse = patches * prod(self.lattice.patch) * dense * network.classes * network.scores_per_cell
        return ceil(2 * 4 * (direct + averages + coarse) * self.prepared.augmentation.cost)


@dataclass(frozen=True)
class Averaging:
    """The averaging of several views: how the mask's grid is cut for it, and how much memory it needs."""

    prepared: PreparedJob

    def slabs(self, resources: Resources) -> tuple[Box, ...]:
        """Return the slabs of the grid, cut into strips if they are too wide for the memory.

        Raises:
            RequestError: If the height is not a multiple of a chunk, or the memory too small for the narrowest strip.

        """
        return _cut(self.prepared.grid.shape, resources, self.memory)

    def memory(self, width: int | None = None) -> int:
        """Return the bytes that are held: a slab of labels and layers, and the scores of a tile, twice and their sum.

        Args:
            width: Columns of a strip; None: whole rows.

        """
        _, *rows, columns = self.prepared.grid.shape
        cells = prod(rows) * min(columns, width or columns)
        tile = prod(min(TILE, side) for side in (*rows, columns))
        scores = max(bytes_per_cell(sweep.decisions) for sweep in sweeps_of(self.prepared))
        return SLAB_ROWS[3] * (cells * bytes_per_cell(self.prepared.decisions) + 3 * tile * scores)


def _cut(
    shape: tuple[int, ...], resources: Resources, memory: Callable[[int | None], int], held: int = 0
) -> tuple[Box, ...]:
    """Cut a grid into slabs, and these into strips that fit into the memory, `held` bytes of which a block takes."""
    axes = len(shape)
    height = resources.rows or SLAB_ROWS[axes]
    if height % SLAB_ROWS[axes]:
        raise RequestError(f"--rows {height}: must be a multiple of {SLAB_ROWS[axes]}, the rows of a chunk")
    return cut_slabs(shape, height, _strip(shape[-1], STRIP[axes], resources.memory, memory, held))


def _strip(columns: int, side: int, budget: int | None, memory: Callable[[int | None], int], held: int) -> int | None:
    """Columns of a strip, a multiple of `side`, that takes at most `budget` bytes; None: whole rows."""
    if budget is None or memory(None) <= budget:
        return None
    widths = range(ceil(columns / side) * side, 0, -side)
    fitting = next((width for width in widths if memory(width) <= budget), None)
    if fitting is None:
        raise RequestError(
            f"--memory {budget / 2**20:.1f} MiB: the narrowest strip needs {memory(side) / 2**20:.1f} MiB"
            + (f", {held / 2**20:.1f} of them for a block of the file" if held else "")
            + "; allow more, or use smaller patches"
        )
    return fitting


def sweeps_of(prepared: PreparedJob) -> tuple[ViewSweep, ...]:
    """Return the sweep of each view, in the order in which scores are averaged."""
    return tuple(ViewSweep(prepared, view) for view in prepared.views)
