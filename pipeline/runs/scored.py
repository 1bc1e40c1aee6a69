"""The scores of an input, as a run blends them, for those who look at more than the labels; nothing is published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from pipeline.engine import Scores, Source
from pipeline.engine.ledger import Ledger
from pipeline.geometry import Box, Grid
from pipeline.geometry.orientation import inverse
from pipeline.io.zarr import WorkSource
from pipeline.jobs.job import Job
from pipeline.jobs.layers import Layer
from pipeline.models.card import Card
from pipeline.runs.lock import clear_work_folder
from pipeline.runs.observer import RunContext
from pipeline.runs.prepare import prepare
from pipeline.runs.prepared import PreparedJob
from pipeline.runs.view_averaging import mean_scores
from pipeline.runs.view_sweep import sweeps_of
from pipeline.runs.work import sweep_all
from pipeline.runs.work_folder import scores_source, store_of
from pipeline.sources.reoriented import ReorientedSource


@dataclass(frozen=True)
class BlendedScores:
    """The blended scores of an input on the grid of its mask, on disk until they are read."""

    grid: Grid
    card: Card
    """Card of the first model."""
    parts: tuple[Source, ...]
    """The scores of each view, on that grid."""
    weights: tuple[float, ...]
    """Weight of each view."""

    def read(self, box: Box) -> NDArray[np.float32]:
        """Return scores `(classes, *box.shape)`, probabilities or logits; NaN where nothing was observed."""
        return mean_scores(self.parts, self.weights, box)


@contextmanager
def scored(job: Job, run: RunContext, temperature: float | None = None) -> Iterator[BlendedScores]:
    """Sweep an input as `segment` does, and give its scores, which are in a temporary folder meanwhile.

    Args:
        job: The input, the model, and the options that decide its scores; its output is not written.
        run: Resources, and the observer, which may stop it.
        temperature: Temperature of the models in place of that in their cards; None: as in the cards.

    Raises:
        PipelineError: As `segment`.

    """
    with TemporaryDirectory(prefix="pipeline-") as folder:
        prepared = _prepared(replace(job, output=Path(folder) / "scores.zarr", also=None), run, temperature)
        clear_work_folder(prepared.work)
        prepared, _ = sweep_all(prepared, run, Ledger(prepared.work))
        weights = tuple(view.weight for view in prepared.views)
        yield BlendedScores(prepared.grid, prepared.card, tuple(_parts(prepared)), weights)


def _prepared(job: Job, run: RunContext, temperature: float | None) -> PreparedJob:
    prepared = prepare(job, run.resources)
    if temperature is not None:
        cards = [replace(member.card, temperature=temperature) for member in prepared.members]
        members = tuple(replace(one, card=card) for one, card in zip(prepared.members, cards, strict=True))
        prepared = replace(prepared, members=members)
    names = tuple(entry.name for entry in prepared.card.classes)
    return prepared if prepared.averaged else replace(prepared, layers=(Layer("scores", Scores((len(names),)), names),))


def _parts(prepared: PreparedJob) -> Sequence[Source]:
    """Return the stores of scores, in the axes of the mask."""
    if prepared.averaged:
        return [scores_source(sweep) for sweep in sweeps_of(prepared)]
    stored, turned = WorkSource(store_of(prepared, prepared.layers[0])), prepared.views[0].orientation
    return [stored if turned is None else ReorientedSource(stored, *inverse(*turned))]
