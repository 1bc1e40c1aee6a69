"""A run that is prepared: all that decides its bytes, and what follows from it. Small enough to be sent about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.classes import ClassTable, LabelClass
from pipeline.engine import Decision, Labels, Recipe, Scores
from pipeline.engine.blend import MANY
from pipeline.errors import RequestError
from pipeline.geometry import Box, Grid, Lattice, Region, cut_slabs
from pipeline.geometry.slabs import Run
from pipeline.sources.reoriented import Orientation
from pipeline.jobs.job import Job, Means
from pipeline.jobs.layers import Layer, checked
from pipeline.models.inference.tta import Augmentation
from pipeline.models.card import Card
from pipeline.models.inference.numerics import Numerics
from pipeline.jobs.read_options import Reading
from pipeline.geometry.partition import runs_for
from pipeline.runs.views import View

FORMAT = 1
"""Version of all that a fingerprint stands for; raised when the same fields would give other bytes."""

SLAB_ROWS = {2: 1024, 3: 32}
"""Rows of a slab, and of a chunk of the store, by number of axes."""

READ_ROWS = {2: 512, 3: 32}
"""Rows that are read at a time, at most, where patches are no taller; by number of axes."""

STRIP = {2: 1024, 3: 256}
"""Columns of a chunk of the store, by number of axes."""

ROUNDING = ("device", "precision", "runtime", "int8_sha256")
"""Fields of a fingerprint that change no more than the rounding of scores."""


@dataclass(frozen=True)
class Setup:
    """One run, prepared."""

    job: Job
    """With its output and model filled in."""
    version: Mapping[str, Any]
    """What tells this version of the input from others: asked once, for it may lie on a server."""
    card: Card
    grid: Grid
    """The grid of the mask: the input's own, unless the job asks for another."""
    views: tuple[View, ...]
    """Directions in which it is swept; scores of several are averaged, in this order."""
    staged: bool
    """Whether the volume is copied to Zarr first."""
    window: str
    region: Region | None
    """Part of the scene that is segmented; None: all of it."""
    augmentation: Augmentation
    """Turns and scales in which the network sees each patch."""
    reading: Reading
    """How the input is read for the model."""
    channels: int
    itemsize: int
    """Bytes of one value of the input."""
    numerics: Numerics
    layers: tuple[Layer, ...] = ()
    """What is written beside the labels."""
    at: int = 0
    """Which of the views is under way."""

    def each(self) -> tuple[Setup, ...]:
        """The setup for each of its views."""
        return tuple(replace(self, at=number) for number in range(len(self.views)))

    @property
    def averaged(self) -> bool:
        """Whether there are several views, of which each keeps its scores until all are there."""
        return len(self.views) > 1

    @property
    def swept(self) -> Grid:
        """The grid of the view under way."""
        return self.views[self.at].grid

    @property
    def orientation(self) -> Orientation | None:
        """How a volume is turned before it is swept in the view under way; None: as it is."""
        return self.views[self.at].orientation

    @property
    def lattice(self) -> Lattice:
        """The lattice of the view under way."""
        return self.views[self.at].lattice

    @property
    def output(self) -> Path:
        """File to write."""
        if self.job.output is None:
            raise RequestError(f"{self.job.name}: has no output")
        return self.job.output

    @property
    def work(self) -> Path:
        """Folder of what is done so far, beside the output."""
        return self.output.with_name(self.output.name + ".partial")

    @property
    def folder(self) -> Path:
        """Folder of what is done so far of the view under way, with its ledger."""
        return self.work / f"{self.views[self.at].name}" if self.averaged else self.work

    @property
    def labels(self) -> Labels:
        """Type and nodata of the labels: the largest value of the smallest type that holds the classes."""
        if len(self.card.classes) <= 255:
            return Labels(np.dtype(np.uint8), 255)
        return Labels(np.dtype(np.uint16), 65535)

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What is written of the view under way: labels and layers, or scores to be averaged."""
        if self.averaged:
            return (Scores((len(self.card.classes),)),)
        return self.labels, *(layer.decision for layer in self.layers)

    @property
    def recipe(self) -> Recipe:
        """What the engine needs."""
        return Recipe(self.lattice, self.window, self.decisions)

    @property
    def classes(self) -> ClassTable:
        """The class table of the mask."""
        return tuple(LabelClass(value, entry.name, entry.colour) for value, entry in enumerate(self.card.classes))

    @property
    def told_channels(self) -> tuple[str, ...]:
        """Channels of the model, each with the number of the band that is taken for it, where bands were chosen."""
        if self.reading.bands is None:
            return self.card.channels
        pairs = zip(self.card.channels, self.reading.bands, strict=True)
        return tuple(f"{channel} (band {number})" for channel, number in pairs)

    @property
    def told_values(self) -> str:
        """Which values of the input the model takes."""
        return "as stored" if self.reading.calibration is None else str(self.reading.calibration)

    @property
    def needs_statistics(self) -> bool:
        """Whether the model scales each input by numbers of its own."""
        return self.card.normalisation.by_input

    def slabs(self, means: Means) -> tuple[Box, ...]:
        """The slabs of the swept grid, cut into strips where rows are too wide for the memory."""
        axes = len(self.swept.shape)
        height = means.rows or SLAB_ROWS[axes]
        if height % SLAB_ROWS[axes]:
            raise RequestError(f"--band {height}: must be a multiple of {SLAB_ROWS[axes]}, the rows of a chunk")
        return cut_slabs(self.swept.shape, height, self._strip(means.memory))

    def runs(self, slabs: Sequence[Box], workers: int) -> tuple[Run, ...]:
        """Slabs of the swept grid, shared out among workers."""
        return runs_for(self.lattice, slabs, workers, STRIP[len(self.swept.shape)])

    def memory(self, width: int | None = None) -> int:
        """Bytes that the sweep holds: overlaps carried over, rows read ahead, slabs on their way out.

        `width` is that of a strip; None: whole rows.
        """
        *rows, columns = self.swept.shape
        across = int(np.prod(rows[1:], initial=1)) * min(columns, (width or columns) + self.lattice.patch[-1])
        patch, stride = self.lattice.patch[0], self.lattice.patch[0] - self.lattice.overlap[0]
        planes = 2 if self.lattice.depth > MANY else 1
        carried = 4 * planes * (len(self.card.classes) + self.recipe.squares) * self.lattice.overlap[0]
        ahead = 3 * max(stride, READ_ROWS[len(self.swept.shape)])
        read = self.channels * self.itemsize * (patch + 2 * self.lattice.margin[0] + ahead)
        written = 3 * bytes_of(self.decisions) * SLAB_ROWS[len(self.swept.shape)]
        return across * (carried + read + written)

    def _strip(self, budget: int | None) -> int | None:
        """Columns of a strip so that the sweep fits into `budget` bytes; None: whole rows."""
        if budget is None or self.memory() <= budget:
            return None
        side = STRIP[len(self.swept.shape)]
        widths = range(ceil(self.swept.shape[-1] / side) * side, 0, -side)
        fitting = next((width for width in widths if self.memory(width) <= budget), None)
        if fitting is None:
            raise RequestError(
                f"--memory {budget / 2**20:.1f} MiB: the narrowest strip needs {self.memory(side) / 2**20:.1f} MiB; "
                "allow more, or take smaller patches"
            )
        return fitting

    def fingerprint(self) -> dict[str, Any]:
        """All that decides the bytes of the output, as JSON values."""
        return {
            "format": FORMAT,
            "input": self.version,
            "bands": self.reading.bands,
            "calibration": None if self.reading.calibration is None else asdict(self.reading.calibration),
            "target": None if self.reading.onto is None else _told(self.reading.onto),
            "affine": self.job.affine,
            "volume": self.job.volume,
            "keep_header_text": self.job.keep_header_text,
            "aoi": None if self.region is None else self.region.digest,
            "model": self.card.name,
            "weights_sha256": self.card.weights_sha256,
            "patch": self._of_views([view.lattice.patch for view in self.views]),
            "overlap": self._of_views([view.lattice.overlap for view in self.views]),
            "margin": self.lattice.margin,
            "window": self.window,
            "normalisation": asdict(self.card.normalisation),
            "network": asdict(self.card.network),
            "averaging": self.card.averaging,
            "spacing": self.card.spacing,
            "orientation": self.card.orientation,
            "view": self._of_views([view.told for view in self.views]),
            "tta": self.augmentation.words,
            "also": checked(self.job.also),
            "device": self.numerics.device.split(":")[0],
            "precision": self.numerics.precision,
            "runtime": self.numerics.runtime,
            "int8_sha256": self._int8_sha256(),
        }

    def _of_views(self, values: list[Any]) -> Any:  # noqa: ANN401  (JSON values)
        """What holds for each view; the value itself where there is but one."""
        return values if self.averaged else values[0]

    def _int8_sha256(self) -> tuple[str, str] | None:
        form = self.card.int8
        return None if form is None or self.numerics.precision != "int8" else (form.xml_sha256, form.bin_sha256)


def bytes_of(decisions: Sequence[Decision]) -> int:
    """Bytes that are written of a cell."""
    return sum(each.dtype.itemsize * prod(each.planes) for each in decisions)


def _told(grid: Grid) -> dict[str, Any]:
    return {"shape": grid.shape, "affine": grid.affine, "crs": grid.crs}
