"""Find a learning rate: take steps at rates that rise from tiny to huge, and see where the loss falls.

The range test of Smith (2015, arXiv:1506.01186).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite, log10
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.files.atomic import atomic_write
from pipeline.io.plots import LEFT, SIDE, TOP, Plot, legend, picture
from pipeline.io.tables import write_rows
from pipeline.training.config import Training, TrainingResources
from pipeline.training.dataset import TrainingPatches, close_all
from pipeline.training.run import Say, ready_for
from pipeline.training.trial import Trial

TABLE, CHART = "learning_rate.csv", "learning_rate.svg"
LOWEST, HIGHEST, STEPS = 1e-6, 1.0, 100
"""Rates of the backbone that are tried, and steps between them, evenly on a logarithmic scale."""
_DIVERGED = 4.0
"""Times its lowest value so far, from which the smoothed loss of the last steps ends the trial."""
_LAST = 0.7
"""Share that the smoothed loss of the last steps keeps at each step."""
_SMOOTH = 4.0
"""Standard deviation in steps of the Gaussian that smooths the curve."""
_STILL = 10 * LOWEST
"""Rates up to which next to nothing is learned."""
_NOTABLE = 1.3
"""Standard deviations of the losses of single steps by which a smoothed loss has to fall."""
_TELL = 10
"""Steps between two lines."""
Curve = NDArray[np.float64]


@dataclass(frozen=True)
class RateFinding:
    """What a trial of learning rates found."""

    learning_rate: float
    """In the middle of where the loss falls."""
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    """Loss of the step at each rate."""
    table: Path
    chart: Path


def find_learning_rate(
    training: Training, base: Path, out: Path, resources: TrainingResources, say: Say = print
) -> RateFinding:
    """Try learning rates in up to `STEPS` steps that are forgotten, and write their losses into `out`.

    The new layers get their multiple of each rate, `schedule.head_lr_multiplier`. A training that was begun in `out`
    does not change.

    Raises:
        RequestError, InputError, OutputError: As `train` raises them.
        PipelineError: If the loss falls at none of them.

    """
    ready = ready_for(training, base, resources, say)
    samples = TrainingPatches(training, ready.statistics, ready.normalization, range(STEPS * training.samples.batch))
    try:
        rates, losses = zip(*_tried(Trial(ready.learner, samples, resources), say), strict=True)
    finally:
        close_all()
    found = suggested(rates, losses)
    table, chart = out / TABLE, out / CHART
    _write(table, chart, rates, losses, found)
    if found is None:
        raise PipelineError(
            f"the loss did not fall at any learning rate from {rates[0]:.2g} to {rates[-1]:.2g}, see {chart}; "
            "check the labels and the normalization, or the pretrained weights"
        )
    return RateFinding(found, rates, losses, table, chart)


def suggested(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """Return the middle of the rates at which the loss falls, on a logarithmic scale and to two digits.

    They begin where the smoothed loss has come down by a tenth of its fall, and end where it is lowest. None if it does
    not fall by more than it varies between steps at the lowest rates.
    """
    still = [loss for rate, loss in zip(rates, losses, strict=True) if rate <= _STILL]
    curve, level = smoothed(losses), float(np.mean(still))
    end = int(curve.argmin())
    fall = level - float(curve[end])
    if fall <= _NOTABLE * float(np.std(still)):
        return None
    begin = int(np.flatnonzero(curve[: end + 1] > level - fall / 10)[-1])
    return float(f"{(rates[begin] * rates[end]) ** 0.5:.2g}")


def smoothed(losses: Sequence[float]) -> Curve:
    """Return losses averaged with their neighbors by a Gaussian, which does not shift where they fall."""
    steps = np.arange(len(losses))
    weights = np.exp(-((steps[:, None] - steps) ** 2) / (2 * _SMOOTH**2))
    found: Curve = weights @ np.asarray(losses) / weights.sum(1)
    return found


def _tried(trial: Trial, say: Say) -> Iterator[tuple[float, float]]:
    """Yield each rate with the loss of its step, until the loss has diverged."""
    learner = trial.learner
    optimizer = learner.configure_optimizers()["optimizer"]
    multiples = [group["initial_lr"] / learner.training_config.schedule.rate for group in optimizer.param_groups]
    last, lowest = 0.0, inf
    for number, rate in enumerate(np.geomspace(LOWEST, HIGHEST, STEPS).tolist()):
        for group, multiple in zip(optimizer.param_groups, multiples, strict=True):
            group["lr"] = rate * multiple
        loss = trial.step(number, optimizer, learner.early_network)
        if not isfinite(loss):
            return
        yield rate, loss
        last = _LAST * last + (1 - _LAST) * loss
        now = last / (1 - _LAST ** (number + 1))
        if now > _DIVERGED * lowest:
            return
        lowest = min(lowest, now)
        if (number + 1) % _TELL == 0:
            say(f"learning rate {rate:.2g}  loss {now:.4f}  ({number + 1} of {STEPS} steps)")


def _write(table: Path, chart: Path, rates: Sequence[float], losses: Sequence[float], found: float | None) -> None:
    write_rows(table, ("learning_rate", "loss"), zip(rates, losses, strict=True))
    with atomic_write(chart) as draft:
        draft.write_text(rates_svg(rates, losses, found), encoding="utf-8")


def rates_svg(rates: Sequence[float], losses: Sequence[float], found: float | None) -> str:
    """Return the loss by learning rate as SVG: of each step in gray, smoothed in blue, and the rate that was found."""
    curve = smoothed(losses)
    low, high = float(curve.min()), float(np.percentile(curve, 90))
    room = 0.1 * (high - low) or 0.1
    plot = Plot(log10(LOWEST), log10(HIGHEST), low - room, high + room)
    ticks = [(float(power), f"1e{power}") for power in range(round(plot.low), round(plot.high) + 1)]
    up = [(value, f"{value:.2f}") for value in np.linspace(low, high, 5).tolist()]
    places = [log10(rate) for rate in rates]
    each, whole = ([*zip(places, np.clip(line, plot.bottom, plot.top), strict=True)] for line in (losses, curve))
    parts = [
        *plot.axes(ticks, "learning rate", "loss", up),
        plot.line(each, "#bbb", 'stroke-width="1"'),
        plot.line(whole, "#0b5cad"),
    ]
    told = [("loss of a step", "#bbb"), ("smoothed", "#0b5cad")]
    if found is not None:
        at = log10(found)
        parts.append(plot.line([(at, plot.bottom), (at, plot.top)], "#c22", 'stroke-dasharray="4 4"'))
        told.append((f"learning_rate = {found:g}", "#c22"))
    parts += legend(told, LEFT, TOP + SIDE + 52)
    return picture("Loss by learning rate", parts, LEFT + SIDE + 20, TOP + SIDE + 64 + 18 * len(told))
