"""Views of a run: the directions in which an input is swept, each with a lattice on its own grid."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.engine import Source
from pipeline.errors import RequestError
from pipeline.geometry import Grid, Lattice
from pipeline.geometry.orientation import Orientation, canonical
from pipeline.jobs.job import Job
from pipeline.models.card import Card, ViewName, views_of
from pipeline.models.inference.fit import model_patch, native_patch
from pipeline.sources.reoriented import ReorientedSource

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

    @property
    def label(self) -> str | None:
        """Its name, with its weight unless that is 1."""
        return self.name if self.weight == 1 else f"{self.name} x {self.weight:g}"


def views_for(source: Source, card: Card, job: Job) -> tuple[View, ...]:
    """Return the views of a job, or else of its model, in the order in which their scores are averaged.

    If a volume has thick slices, only the one of the model's own views that follows them is used.
    """
    if source.grid.is_scene:
        return (_view(None, source, card, job),)
    names = views_of(job.view) or _default_views(source.grid, card)
    views = [_view(name, source, card, job) for name in names]
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


def _view(name: ViewName | None, source: Source, card: Card, job: Job) -> View:
    turned = None if name is None else _orientation(source.grid, card, name)
    grid = source.grid if turned is None else ReorientedSource(source, *turned).grid
    lattice = _lattice(grid, card, job)
    rows, columns = lattice.patch[-2:]
    return View(name, turned, grid, lattice, model_patch(card, _in_plane(grid), (rows, columns)))


def _orientation(grid: Grid, card: Card, name: ViewName) -> Orientation | None:
    order, flips = canonical(grid, name, orientation=card.orientation or "RAS")
    return None if order == (0, 1, 2) and not any(flips) else (order, flips)


def _lattice(grid: Grid, card: Card, job: Job) -> Lattice:
    patch, overlap = native_patch(card, _in_plane(grid))
    patch = job.patch or patch
    if job.patch and not job.overlap:
        overlap = (patch[0] * card.overlap[0] // card.patch[0], patch[1] * card.overlap[1] // card.patch[1])
    overlap = job.overlap or overlap
    if any(not 0 <= o < p for p, o in zip(patch, overlap, strict=True)):
        raise RequestError(
            f"overlap {overlap} must be at least 0 and smaller than the patch {patch}; "
            "give a smaller --overlap or a larger --patch"
        )
    if grid.is_scene:
        return Lattice(grid.shape, patch, overlap, (0, 0))
    return Lattice(grid.shape, (1, *patch), (0, *overlap), (card.margin, 0, 0))


def _in_plane(grid: Grid) -> tuple[float, float]:
    return grid.spacing[-2], grid.spacing[-1]
