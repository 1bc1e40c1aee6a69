"""Views of a run: the directions in which an input is swept, each with a lattice on its own grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pipeline.engine import Source
from pipeline.errors import RequestError
from pipeline.geometry import Blocks, Grid, Lattice, padded_shape
from pipeline.geometry.orientation import Orientation, canonical
from pipeline.jobs.job import Job
from pipeline.models.card import Card, ViewName, views_of
from pipeline.models.inference.fit import model_patch, native_patch
from pipeline.models.inference.tta import TTA
from pipeline.models.inference.units import Units, units_of
from pipeline.runs.limits import check_patch
from pipeline.sources.reoriented import ReorientedSource

Spacing = tuple[float, float]
THICK = 3.0
"""Longest over shortest side of a voxel, above which other views than that of the slices see little."""


@dataclass(frozen=True)
class View:
    """One direction in which an input is swept."""

    name: ViewName | None
    """None for a scene, which has no other."""
    orientation: Orientation | None
    """How a volume is turned before it is swept; None: as it is."""
    grid: Grid
    """The grid as it is swept."""
    lattice: Lattice
    input_size: tuple[int, int]
    """Height and width of the network's input, in model pixels."""
    weight: float = 1.0
    """Weight of its scores among those of other views."""
    units: Units | None = None
    """Cells and model pixels that correspond, where patches share features."""
    blocks: Blocks | None = None
    """Blocks whose features patches share; None: each patch computes its own."""
    spacing: Spacing | None = None
    """Height and width of a cell, in millimeters (volumes) or meters on the ground; None: the model has none."""

    @property
    def features(self) -> Literal["patch", "shared"]:
        """Whether patches share features, or each computes its own."""
        return "patch" if self.blocks is None else "shared"

    def input_size_of(self, card: Card) -> tuple[int, int]:
        """Return the height and width of a network's input for a patch, in pixels of its model."""
        if self.units is not None:
            return self.input_size
        rows, columns = self.lattice.patch[-2:]
        return model_patch(card, self.spacing, (rows, columns))

    @property
    def label(self) -> str | None:
        """Its name, with its weight unless that is 1."""
        return self.name if self.weight == 1 else f"{self.name} x {self.weight:g}"


def views_for(source: Source, card: Card, job: Job, ground: Spacing | None = None) -> tuple[View, ...]:
    """Return the views of a job, or else of its model, in the order in which their scores are averaged.

    If a volume has thick slices, only the one of the model's own views that follows them is used.

    Args:
        source: The input.
        card: Card of the model.
        job: The job.
        ground: Height and width of a scene's pixels in meters on the ground, for a model that has a spacing.

    Raises:
        InputError: A patch would not fit into memory.

    """
    if source.grid.is_scene:
        return (_view(source.grid, ground, card, job),)
    names = views_of(job.view) or _default_views(source.grid, card)
    views = [_turned_view(name, source, card, job) for name in names]
    if len(views) == 1 or not (card.view_weights and set(names) <= set(card.views)):
        return tuple(views)
    weights = dict(zip(card.views, card.view_weights, strict=True))
    return tuple(replace(view, weight=weights[name]) for name, view in zip(names, views, strict=True))


def _default_views(grid: Grid, card: Card) -> tuple[ViewName, ...]:
    """Return the model's views; for a volume of thick slices, the one that follows them, if it is among them."""
    if max(grid.spacing) <= THICK * min(grid.spacing):
        return card.views
    thick = grid.spacing.index(max(grid.spacing))
    return tuple(name for name in card.views if canonical(grid, name)[0][0] == thick) or card.views


def _turned_view(name: ViewName, source: Source, card: Card, job: Job) -> View:
    turned = _orientation(source.grid, card, name)
    grid = source.grid if turned is None else ReorientedSource(source, *turned).grid
    return replace(_view(grid, (grid.spacing[-2], grid.spacing[-1]), card, job), name=name, orientation=turned)


def _view(grid: Grid, spacing: Spacing | None, card: Card, job: Job) -> View:
    """Return a view; patches that cannot share features do so only if the job asks for it, which is refused."""
    if (job.features or card.features) == "shared":
        try:
            return _shared_view(grid, spacing, card, job)
        except RequestError:
            if job.features is not None:
                raise
    lattice = _lattice(grid, spacing, card, job)
    rows, columns = lattice.patch[-2:]
    return View(None, None, grid, lattice, model_patch(card, spacing, (rows, columns)), spacing=spacing)


def _shared_view(grid: Grid, spacing: Spacing | None, card: Card, job: Job) -> View:
    """Return a view whose patches share features: they and their starts are whole units."""
    units = units_of(card, spacing, TTA.of(job.tta))
    lattice = _lattice(grid, spacing, card, job, units)
    rows, columns = lattice.patch[-2:]
    before = (1,) * (len(grid.shape) - 2)
    blocks = Blocks(lattice, (*before, *units.block()), (*(0 for _ in before), *units.halo()))
    pixels = units.pixels((rows, columns))
    return View(None, None, grid, lattice, pixels, units=units, blocks=blocks, spacing=spacing)


def _orientation(grid: Grid, card: Card, name: ViewName) -> Orientation | None:
    order, flips = canonical(grid, name, orientation=card.orientation or "RAS")
    return None if order == (0, 1, 2) and not any(flips) else (order, flips)


def _lattice(grid: Grid, spacing: Spacing | None, card: Card, job: Job, units: Units | None = None) -> Lattice:
    patch, overlap = native_patch(card, spacing) if units is None else units.lattice_of(card.patch, card.overlap)
    patch = job.patch or patch
    check_patch(job.name, patch, card, spacing)
    if job.patch and not job.overlap:
        overlap = (patch[0] * card.overlap[0] // card.patch[0], patch[1] * card.overlap[1] // card.patch[1])
        overlap = overlap if units is None else units.whole(overlap)
    overlap = job.overlap or overlap
    if any(not 0 <= o < p for p, o in zip(patch, overlap, strict=True)):
        raise RequestError(
            f"overlap {overlap} must be at least 0 and smaller than the patch {patch}; "
            "give a smaller --overlap or a larger --patch"
        )
    shape = grid.shape
    if units is not None:
        units.check(patch, overlap)
        shape = padded_shape(shape, (*(1 for _ in shape[2:]), *units.native))
    if grid.is_scene:
        return Lattice(shape, patch, overlap, (0, 0))
    return Lattice(shape, (1, *patch), (0, *overlap), (card.margin, 0, 0))
