"""Everything about a run that is known before its first patch: checked, complete, and small enough to send about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.classes import ClassTable, LabelClass
from pipeline.engine import Decision, Labels, Recipe, Scores, Source
from pipeline.engine.blend import MANY
from pipeline.engine.window import window as checked_window
from pipeline.errors import InputError, ModelError, RequestError
from pipeline.geometry import Box, Grid, Lattice, Region, cut_bands
from pipeline.geometry.bands import Run
from pipeline.io.address import beside, is_remote
from pipeline.io.formats import check_output, identity, stem_of
from pipeline.io.rasterband import Banded, listed
from pipeline.io.views import Orientation
from pipeline.job import Job, Means
from pipeline.layers import Layer, checked, layers_of
from pipeline.limits import check_room, check_shape
from pipeline.models.augmentation import Augmentation
from pipeline.models.card import Card
from pipeline.models.catalogue import load_card
from pipeline.models.fit import int8_form
from pipeline.models.numerics import Numerics
from pipeline.reading import Reading, Wanted, reading_of
from pipeline.sharing import runs_for
from pipeline.views import View, views_for

FORMAT = 1
"""Version of all that a fingerprint stands for; raised when the same fields would give other bytes."""

DEFAULTS = {True: "landcover", False: "hippocampus"}
"""Default model by whether the input is a scene."""

BAND = {2: 1024, 3: 32}
"""Rows of a band, and of a chunk of the store, by number of axes."""
SLAB = {2: 512, 3: 32}
"""Rows that are read at a time, at most, where patches are no taller; by number of axes."""
STRIP = {2: 1024, 3: 256}
"""Columns of a chunk of the store, by number of axes."""

ROUNDING = ("device", "precision", "runtime", "int8_sha256")
"""Fields of a fingerprint that change no more than the rounding of scores."""

_MANY = 500
"""Patches below which no run is worth a compiler."""


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

    def bands(self, means: Means) -> tuple[Box, ...]:
        """The bands of the swept grid, cut into strips where rows are too wide for the memory."""
        axes = len(self.swept.shape)
        height = means.band or BAND[axes]
        if height % BAND[axes]:
            raise RequestError(f"--band {height}: must be a multiple of {BAND[axes]}, the rows of a chunk")
        return cut_bands(self.swept.shape, height, self._strip(means.memory))

    def runs(self, bands: Sequence[Box], workers: int) -> tuple[Run, ...]:
        """Bands of the swept grid, shared out among workers."""
        return runs_for(self.lattice, bands, workers, STRIP[len(self.swept.shape)])

    def memory(self, width: int | None = None) -> int:
        """Bytes that the sweep holds: overlaps carried over, rows read ahead, bands on their way out.

        `width` is that of a strip; None: whole rows.
        """
        *rows, columns = self.swept.shape
        across = int(np.prod(rows[1:], initial=1)) * min(columns, (width or columns) + self.lattice.patch[-1])
        patch, stride = self.lattice.patch[0], self.lattice.patch[0] - self.lattice.overlap[0]
        planes = 2 if self.lattice.depth > MANY else 1
        carried = 4 * planes * (len(self.card.classes) + self.recipe.squares) * self.lattice.overlap[0]
        ahead = 3 * max(stride, SLAB[len(self.swept.shape)])
        read = self.channels * self.itemsize * (patch + 2 * self.lattice.margin[0] + ahead)
        written = 3 * bytes_of(self.decisions) * BAND[len(self.swept.shape)]
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
            "view": self._of_views([view.name for view in self.views]),
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


def prepare(job: Job, means: Means) -> Setup:
    """Check a job against its input and its model and fill in what it leaves open; reads headers only."""
    job = job.plain()
    asked = _asked(job)
    source = asked.open(job.input)
    try:
        job = _where_it_matters(job, source)
        check_shape(job.name, source.grid.shape)
        model = job.model or DEFAULTS[source.grid.is_scene]
        card = load_card(model)
        _check_kind(source, card, job)
        found = reading_of(source, job.name, _wanted(card, job))
        reading = replace(asked, bands=found.bands, calibration=found.calibration)
        source = reading.applied(source, job.input)
        _check_channels(source, card, job)
        output = job.output or default_output(job.input, source.grid)
        check_output(source.grid, output)
        _check_distinct(job.input, output)
        views = views_for(source, card, job)
        augmentation = Augmentation.of(job.tta)
        for view in views:
            augmentation.check(view.seen)
        setup = Setup(
            job=replace(job, output=output, model=model),
            version=identity(job.input, job.series),
            card=card,
            grid=source.grid,
            views=views,
            staged=any(_needs_staging(source, view.orientation, means) for view in views),
            region=_region(job, source.grid),
            window=_window(job.window or card.window),
            augmentation=augmentation,
            reading=reading,
            channels=source.channels,
            itemsize=source.dtype.itemsize,
            numerics=_numerics(means, card, views, augmentation),
            layers=layers_of(job.also, card),
        )
        if _is_cut(setup, means) and _is_sequential(source):
            setup = replace(setup, staged=True)
        for one in setup.each():
            check_room(
                job.name,
                Box.whole(source.grid.shape).size * bytes_of(one.decisions),
                one.memory(),
                output,
                cut=means.memory is not None,
            )
            one.bands(means)
        return setup
    finally:
        source.close()


def _where_it_matters(job: Job, source: Source) -> Job:
    """The job without what decides nothing of this input: which form holds where they agree, the volume of but one."""
    disagree = source.grid.reference.get("nifti", {}).get("disagree", False)
    several = getattr(source, "volumes", 1) > 1
    return replace(job, affine=job.affine if disagree else None, volume=job.volume if several else None)


def default_output(path: str, grid: Grid) -> Path:
    """`<stem>_mask` beside the input: a GeoTIFF for a scene, a packed NIfTI for a volume."""
    return beside(path) / (stem_of(path) + "_mask" + (".tif" if grid.is_scene else ".nii.gz"))


def _asked(job: Job) -> Reading:
    """How the input is read as far as the user says so."""
    keep = bool(job.keep_header_text)
    return Reading(
        job.bands, onto=_target(job), affine=job.affine, volume=job.volume, keep_text=keep, series=job.series
    )


def _wanted(card: Card, job: Job) -> Wanted:
    return Wanted(card.name, card.channels, job.bands, card.values, job.scale, job.offset)


def _check_kind(source: Source, card: Card, job: Job) -> None:
    kind = "scene" if source.grid.is_scene else "volume"
    if card.kind != kind:
        raise ModelError(
            f"{job.name}: is a {kind}, but the model {card.name} is for {card.kind}s; `pipeline models` lists others"
        )
    if kind == "scene" and job.view is not None:
        raise RequestError(f"{job.name}: --view is for volumes; this is a scene")
    if kind == "volume" and (job.scale, job.offset) != (None, None):
        raise RequestError(f"{job.name}: --scale and --offset are for scenes; this is a volume")
    if kind == "volume" and job.also:
        raise RequestError(f"{job.name}: --also is for scenes; this is a volume")


def _check_channels(source: Source, card: Card, job: Job) -> None:
    if len(card.channels) != source.channels:
        more = card.kind == "scene" and source.channels > len(card.channels)
        first = ",".join(str(band) for band in range(1, len(card.channels) + 1))
        about = source.about if more and isinstance(source, Banded) else ()
        named = listed(about) if any(band.name for band in about) else []
        raise InputError(
            f"{job.name}: has {source.channels} channels, but the model {card.name} takes {len(card.channels)} "
            f"({', '.join(card.channels)}); "
            + (f"choose them with --bands, as in --bands {first}" if more else "`pipeline models` lists other models")
            + (f"; it has the bands {', '.join(named)}" if named else ""),
            code="unsuitable",
        )


def _target(job: Job) -> Grid | None:
    if job.like is None and job.resolution is None and job.crs is None:
        return None
    from pipeline.target import target_of

    return target_of(job)


def _told(grid: Grid) -> dict[str, Any]:
    return {"shape": grid.shape, "affine": grid.affine, "crs": grid.crs}


def _region(job: Job, grid: Grid) -> Region | None:
    if job.aoi is None:
        return None
    if not grid.is_scene:
        raise RequestError(f"{job.name}: --aoi is for scenes; this is a volume")
    from pipeline.aoi import read_aoi

    return read_aoi(job.aoi, grid)


def _check_distinct(path: str, output: Path) -> None:
    if not is_remote(path) and Path(path).resolve() == output.resolve():
        raise RequestError(f"{output}: the output is the input itself; give another --output")


def _needs_staging(source: Source, turned: Orientation | None, means: Means) -> bool:
    """Whether the file would otherwise be read again and again; twice, for statistics, costs less than a copy."""
    if source.grid.is_scene:
        return False
    order, flips = turned or ((0, 1, 2), (False, False, False))
    if order != (0, 1, 2):
        return True
    return _is_sequential(source) and (flips[0] or bool(means.workers or means.scheduler))


def _is_cut(setup: Setup, means: Means) -> bool:
    """Whether bands are cut into strips, for each of which the rows of its band are read again."""
    return means.memory is not None and any(one.memory() > means.memory for one in setup.each())


def _is_sequential(source: Source) -> bool:
    return bool(getattr(source, "sequential", False))


def _window(kind: str) -> str:
    checked_window(kind, 1)
    return kind


def _numerics(means: Means, card: Card, views: tuple[View, ...], augmentation: Augmentation) -> Numerics:
    from pipeline.models.device import choose_numerics  # torch takes a second, and errors above come without it
    from pipeline.models.work import flop_of_patch

    long = sum(len(view.lattice) for view in views) >= _MANY
    each = [len(view.lattice) * flop_of_patch(card.network, view.seen) if long else 0.0 for view in views]
    numerics = choose_numerics(means.device, means.precision, means.runtime, augmentation.work * sum(each))
    if numerics.precision == "int8":
        for size in (size for view in views for size in augmentation.sizes(view.seen)):
            int8_form(card, size)
    return numerics
