"""What is known of the items before the first step: every class counted, every range of values measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.engine.protocols import Source
from pipeline.errors import InputError, RequestError
from pipeline.geometry import Grid
from pipeline.jobs.read_options import InputRequirements, ReadOptions, resolve_read_options
from pipeline.models.card import Normalization
from pipeline.models.inference.fit import Scaling
from pipeline.sources.passes import slabs
from pipeline.sources.percentiles import stretch
from pipeline.sources.statistics import NO_STATISTICS, InputStatistics, MomentAccumulator
from pipeline.training.class_counts import ClassCounts, count_classes
from pipeline.training.config import Training
from pipeline.training.items import Item, open_pair

Numbers = tuple[float, ...]


@dataclass(frozen=True)
class ItemStatistics:
    """An item with what is known of it."""

    item: Item
    reading: ReadOptions
    """How its image is read."""
    grid: Grid
    class_counts: ClassCounts
    own: InputStatistics
    """Of its channels, for a model that scales each input by them; else none."""
    moments: tuple[MomentAccumulator, ...]
    """Values other than 0 of each channel, clipped or stretched as the model does, to be joined over all images."""


def collect_statistics(training: Training, items: Sequence[Item]) -> tuple[ItemStatistics, ...]:
    """Read every item once, and count its classes and measure its values.

    Raises:
        InputError: naming the pair whose grids differ, whose values are not classes, or whose channels are not those of
            the training.
        RequestError: for a class that no training item has.

    """
    _rule(training, *_plainly(training))
    statistics = tuple(_collect(training, item) for item in items)
    totals = sum(found.class_counts.totals for found in statistics if found.item.part == "train")
    if missing := [
        entry.name for entry, total in zip(training.classes, np.atleast_1d(totals), strict=True) if not total
    ]:
        raise RequestError(f"classes: {', '.join(missing)}: not in any training item; remove it, or add data")
    return statistics


def normalization_of(training: Training, statistics: Sequence[ItemStatistics]) -> Normalization:
    """How values are scaled: as the training says, with the training images' own mean and spread where it is silent."""
    how = training.samples
    mean, std = how.mean, how.std
    if not mean and how.normalization != "zscore":
        by_channel = zip(*(found.moments for found in statistics if found.item.part == "train"), strict=True)
        joined = [_joined(parts) for parts in by_channel]
        mean, std = tuple(m for m, _ in joined), tuple(s or 1.0 for _, s in joined)
    return _rule(training, mean, std)


def _rule(training: Training, mean: Numbers, std: Numbers) -> Normalization:
    """That of a training with this mean and std; RequestError where it makes no sense."""
    how = training.samples
    if how.normalization == "zscore":
        return Normalization("zscore", (), ())
    normalization = Normalization(how.normalization, mean, std, how.low, how.high)
    try:
        normalization.check(len(training.channels))
    except ValueError as error:
        raise RequestError(f"samples: {error}") from error
    return normalization


def _plainly(training: Training) -> tuple[Numbers, Numbers]:
    """A mean and std that change nothing."""
    count = len(training.channels)
    return (0.0,) * count, (1.0,) * count


def scaling_of(normalization: Normalization, found: ItemStatistics) -> Scaling:
    """The numbers that scale one item."""
    return Scaling.by(normalization, found.own)


def _collect(training: Training, item: Item) -> ItemStatistics:
    image, labels = open_pair(item, training.data.bands)
    try:
        reading = resolve_read_options(image, item.image, _requirements(training))
        image = reading.apply(image, item.image)
        if image.channels != len(training.channels):
            raise InputError(
                f"{item.image}: has {image.channels} channels, but the training has {len(training.channels)} "
                f"({', '.join(training.channels)}); choose them with data.bands"
            )
        if image.grid.is_scene != (training.kind == "scene"):
            raise InputError(
                f"{item.image}: is a {'scene' if image.grid.is_scene else 'volume'}, not a {training.kind}"
            )
        class_counts = count_classes(item, labels, len(training.classes), training.data.ignore)
        how = training.samples
        own = stretch(image, how.low, how.high) if how.normalization == "percentile" else NO_STATISTICS
        moments = _moments(training, image, own) if _measured(training) else ()
        if how.normalization == "zscore":
            own = InputStatistics.of_moments(moments)
        return ItemStatistics(item, reading, image.grid, class_counts, own, moments)
    finally:
        image.close()
        labels.close()


def _requirements(training: Training) -> InputRequirements:
    data, values = training.data, training.samples.values
    return InputRequirements(
        training.name, training.channels, data.bands, values, data.scale, data.offset, "data.bands"
    )


def _measured(training: Training) -> bool:
    return training.samples.normalization == "zscore" or not training.samples.mean


def _moments(training: Training, image: Source, own: InputStatistics) -> tuple[MomentAccumulator, ...]:
    moments = tuple(MomentAccumulator() for _ in training.channels)
    how = training.samples
    stretched = Scaling.by(_rule(training, *_plainly(training)), own) if how.normalization == "percentile" else None
    for _, pixels in slabs(image, 1 if training.kind == "volume" else 256):
        values = pixels.values if stretched is None else stretched(pixels.values[None], None)[0]
        for channel, seen in enumerate(moments):
            plane = values[channel] if pixels.valid is None else values[channel][pixels.valid]
            seen.add(np.clip(plane, how.low[channel], how.high[channel]) if how.normalization == "window" else plane)
    return moments


def _joined(parts: Sequence[MomentAccumulator]) -> tuple[float, float]:
    """Mean and standard deviation of several sets together."""
    counts, means, stds = (np.array(column) for column in zip(*((p.count, p.mean, p.std) for p in parts), strict=True))
    total = max(1, counts.sum())
    mean = float((counts * means).sum() / total)
    return mean, float(np.sqrt((counts * (stds**2 + (means - mean) ** 2)).sum() / total))
