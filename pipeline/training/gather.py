"""What is known of the items before the first step: every class counted, every range of values measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.protocols import Pixels, Source
from pipeline.errors import InputError, RequestError
from pipeline.geometry import Grid
from pipeline.io.slabs import slabs
from pipeline.models.card import Normalisation
from pipeline.models.fit import Scaling
from pipeline.reading import Reading, Wanted, reading_of
from pipeline.statistics import Foreground
from pipeline.training.census import Census, take_census
from pipeline.training.config import Training
from pipeline.training.items import Item, open_pair


@dataclass(frozen=True)
class Gathered:
    """An item with what is known of it."""

    item: Item
    reading: Reading
    """How its image is read."""
    grid: Grid
    census: Census
    foreground: tuple[float, float]
    """Mean and standard deviation of its values other than 0, for a model that scales each input by them."""
    moments: tuple[Foreground, ...]
    """The same of each channel, to be joined over all images."""


def gather(training: Training, items: Sequence[Item]) -> tuple[Gathered, ...]:
    """Look through every item once.

    Raises InputError naming the pair whose grids differ, whose values are no classes, or whose channels are not the
    training's; RequestError for a class that no training item has.
    """
    gathered = tuple(_look_at(training, item) for item in items)
    totals = sum(found.census.totals for found in gathered if found.item.part == "train")
    if missing := [
        entry.name for entry, total in zip(training.classes, np.atleast_1d(totals), strict=True) if not total
    ]:
        raise RequestError(
            f"classes: {', '.join(missing)}: no training item has a pixel of it; leave it out, or add data"
        )
    return gathered


def normalisation_of(training: Training, gathered: Sequence[Gathered]) -> Normalisation:
    """How values are scaled: as the training says, with the training images' own mean and spread where it is silent."""
    how = training.samples
    if how.normalisation == "zscore":
        return Normalisation("zscore", (), ())
    mean, std = how.mean, how.std
    if not mean:
        by_channel = zip(*(found.moments for found in gathered if found.item.part == "train"), strict=True)
        joined = [_joined(parts) for parts in by_channel]
        mean, std = tuple(m for m, _ in joined), tuple(s or 1.0 for _, s in joined)
    normalisation = Normalisation(how.normalisation, mean, std, how.low, how.high)
    try:
        normalisation.check(len(training.channels))
    except ValueError as error:
        raise RequestError(f"samples: {error}") from error
    return normalisation


def scaling_of(normalisation: Normalisation, found: Gathered) -> Scaling:
    """The numbers that scale one item."""
    if normalisation.kind == "zscore":
        mean, std = found.foreground
        return Scaling((mean,), (std if std > 0 else 1.0,))
    return Scaling(normalisation.mean, normalisation.std, normalisation.low, normalisation.high)


def _look_at(training: Training, item: Item) -> Gathered:
    image, labels = open_pair(item, training.data.bands)
    try:
        reading = reading_of(image, item.image, _wanted(training))
        image = reading.applied(image, item.image)
        if image.channels != len(training.channels):
            raise InputError(
                f"{item.image}: has {image.channels} channels, the training {len(training.channels)} "
                f"({', '.join(training.channels)}); choose them with data.bands"
            )
        if image.grid.is_scene != (training.kind == "scene"):
            raise InputError(
                f"{item.image}: is a {'scene' if image.grid.is_scene else 'volume'}, not a {training.kind}"
            )
        census = take_census(item, labels, len(training.classes), training.data.ignore)
        moments = _moments(training, image) if _measured(training) else ()
        return Gathered(item, reading, image.grid, census, _of_all(moments), moments)
    finally:
        image.close()
        labels.close()


def _wanted(training: Training) -> Wanted:
    data, values = training.data, training.samples.values
    return Wanted(training.name, training.channels, data.bands, values, data.scale, data.offset, "data.bands")


def _measured(training: Training) -> bool:
    return training.samples.normalisation == "zscore" or not training.samples.mean


def _moments(training: Training, image: Source) -> tuple[Foreground, ...]:
    moments = tuple(Foreground() for _ in training.channels)
    low, high = training.samples.low, training.samples.high
    for _, pixels in slabs(image, 1 if training.kind == "volume" else 256):
        for channel, seen in enumerate(moments):
            values = _observed(pixels, channel)
            seen.add(np.clip(values, low[channel], high[channel]) if low else values)
    return moments


def _observed(pixels: Pixels, channel: int) -> NDArray[Any]:
    values = pixels.values[channel]
    return values if pixels.valid is None else np.asarray(values[pixels.valid])


def _of_all(moments: tuple[Foreground, ...]) -> tuple[float, float]:
    return (moments[0].mean, moments[0].std) if len(moments) == 1 else (0.0, 1.0)


def _joined(parts: Sequence[Foreground]) -> tuple[float, float]:
    """Mean and standard deviation of several sets together."""
    counts, means, stds = (np.array(column) for column in zip(*((p.count, p.mean, p.std) for p in parts), strict=True))
    total = max(1, counts.sum())
    mean = float((counts * means).sum() / total)
    return mean, float(np.sqrt((counts * (stds**2 + (means - mean) ** 2)).sum() / total))
