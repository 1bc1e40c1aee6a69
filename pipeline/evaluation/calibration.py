"""Measure how far the probabilities of a model can be trusted on inputs with truth, and fit its temperature to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import log, prod

import numpy as np

from pipeline.classes import LabelClass
from pipeline.engine.observer import check_stop
from pipeline.errors import RequestError
from pipeline.evaluation.bootstrap import intervals
from pipeline.evaluation.counts import Counts, add_counts
from pipeline.evaluation.labels import UNCOUNTED, ClassIndex, truth_indices
from pipeline.evaluation.pairs import UnpredictedPair, check_grids, open_truth
from pipeline.evaluation.reliability import (
    bins_of,
    calibration_figures,
    planes_of,
    probabilities,
    reliability_counts,
)
from pipeline.evaluation.request import Measures
from pipeline.evaluation.result import Calibration, Reliability, estimate
from pipeline.geometry import Box, cut_slabs
from pipeline.jobs.job import Job
from pipeline.models.card import Card
from pipeline.models.temperature import LogitSample
from pipeline.runs.observer import Observer, RunContext
from pipeline.runs.prepare import prepare
from pipeline.runs.scored import BlendedScores, scored

_VALUES = 1 << 22
"""Scores of a slab, unless one row has more."""
_ROUNDS = 5
"""Most times that a temperature is tried."""
_CLOSE = 0.01
"""Logarithm of a factor that is nearly 1."""
_LEAST = 1e-30
"""Least probability of which a logarithm is taken."""


@dataclass(frozen=True)
class LabeledJob:
    """A job, and the truth of its input."""

    job: Job
    truth: str

    @property
    def pair(self) -> UnpredictedPair:
        """Its input and truth."""
        return UnpredictedPair(self.job.input, self.truth)


def measure_calibration(labeled: Sequence[LabeledJob], measures: Measures, run: RunContext) -> Calibration:
    """Measure the calibration of models at the temperature of their cards; of a single one, without it too.

    Args:
        labeled: Inputs with one model, or the same several, and their truth.
        measures: What is measured.
        run: Resources, and the observer, which may stop it.

    Raises:
        PipelineError: If an input cannot be segmented.
        Interrupted: If it is to stop.

    """
    card = _card(labeled, run)
    now = _measured(labeled, card, measures, run, None)
    if not card.calibrated or len(labeled[0].job.models) > 1:
        return Calibration(card.divisor, now.reliability(measures), None)
    before = _measured(labeled, card, measures, run, 1.0)
    return Calibration(card.divisor, now.reliability(measures), before.reliability(measures))


def calibrate(labeled: Sequence[LabeledJob], measures: Measures, run: RunContext) -> Calibration:
    """Find the temperature of a model at which the truth of some inputs is likeliest, by what a run makes of them.

    A run averages the probabilities of patches, views and turns, so a temperature is tried, and multiplied by what
    would make these averages likelier, until that is nearly 1. Arguments and errors are those of
    `measure_calibration`.
    """
    card = _card(labeled, run)
    tried = {1.0: _measured(labeled, card, measures, run, 1.0)}
    temperature = _times(1.0, tried[1.0])
    while temperature not in tried and len(tried) < _ROUNDS:
        tried[temperature] = _measured(labeled, card, measures, run, temperature)
        if abs(log(tried[temperature].factor)) < _CLOSE:
            break
        temperature = _times(temperature, tried[temperature])
    best = min(tried, key=lambda each: tried[each].likelihood)
    before = None if best == 1 else tried[1.0].reliability(measures)
    return Calibration(best, tried[best].reliability(measures), before)


def _card(labeled: Sequence[LabeledJob], run: RunContext) -> Card:
    """Return the card of the first model."""
    return prepare(labeled[0].job, run.resources).card


def _times(temperature: float, measured: _Measured) -> float:
    return float(f"{temperature * measured.factor:.4g}")


@dataclass(frozen=True)
class _Measured:
    """Counts of some items at one temperature."""

    items: tuple[Counts, ...]
    names: tuple[str, ...]
    factor: float
    """What the temperature is to be multiplied by for the truth to be likeliest."""

    @property
    def likelihood(self) -> float:
        """The mean negative log-likelihood of the truth."""
        return float(calibration_figures(add_counts(self.items))["nll"])

    def reliability(self, measures: Measures) -> Reliability:
        """Return what they come to, with intervals."""
        counts = add_counts(self.items)
        figures = calibration_figures(counts)
        around = intervals(self.items, calibration_figures, measures.bootstrap, measures.seed)
        by_class = zip(self.names, figures["class_ece"], around["class_ece"].T, strict=True)
        return Reliability(
            estimate(figures["ece"], around["ece"]),
            estimate(figures["nll"], around["nll"]),
            {name: estimate(value, ends) for name, value, ends in by_class},
            bins_of(counts),
        )


class _Quiet(Observer):
    """Shows nothing of an item, and stops it if all is to stop."""

    def __init__(self, to: Observer) -> None:
        self._to = to

    def should_stop(self) -> bool:
        """Ask the other."""
        return self._to.should_stop()


def _measured(
    labeled: Sequence[LabeledJob], card: Card, measures: Measures, run: RunContext, temperature: float | None
) -> _Measured:
    """Segment all inputs at a temperature, or at that of the card, and count."""
    names = tuple(entry.name for entry in card.classes)
    sizes = [_cells(one) for one in labeled]
    sample, firsts = LogitSample(sum(sizes), len(names)), [0, *accumulate(sizes)]
    observer = run.observer.step("measuring probabilities" + ("" if temperature is None else f" at {temperature:g}"))
    observer.started(sum(sizes), 0)
    items = []
    for one, first, cells in zip(labeled, firsts, sizes, strict=False):
        check_stop(observer)
        with scored(one.job, replace(run, observer=_Quiet(observer), workers=None), temperature) as scores:
            items.append(_counted(one, scores, measures, sample, first))
        observer.advanced(cells)
    if not any(item["binned"].any() for item in items):
        raise RequestError(f"{labeled[0].pair}, and {len(items) - 1} more: no cell has a truth that counts")
    return _Measured(tuple(items), names, sample.temperature())


def _cells(one: LabeledJob) -> int:
    with open_truth(one.pair) as truth:
        return Box.whole(truth.source.grid.shape).size


def _counted(one: LabeledJob, scores: BlendedScores, measures: Measures, sample: LogitSample, first: int) -> Counts:
    """Count the cells of an item, slab by slab; `first` is the number of its first cell."""
    classes = tuple(LabelClass(value, entry.name, entry.color) for value, entry in enumerate(scores.card.classes))
    index = ClassIndex(tuple(entry for entry in classes if entry.value not in measures.ignore), measures.ignore)
    parts: list[Counts] = []
    with open_truth(one.pair) as truth:
        check_grids(str(one.pair), scores.grid, truth.source.grid)
        for box in cut_slabs(scores.grid.shape, _rows(scores.grid.shape, len(classes))):
            shares = probabilities(scores.read(box), scores.card.divisor if scores.card.averaging == "logits" else None)
            true = truth_indices(one.pair, truth, box, index)
            found = reliability_counts(shares, true, index)
            parts = [found] if not parts else [add_counts([*parts, found])]
            logits = np.log(np.maximum(shares, _LEAST))
            sample.add(first, logits, np.where(true == UNCOUNTED, -1, planes_of(index)[true]))
            first += box.size
    return parts[0]


def _rows(shape: tuple[int, ...], classes: int) -> int:
    return max(1, _VALUES // (classes * prod(shape[1:])))
