"""What is known of the items before the first step: every class counted, every range of values measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, prod, sqrt
from typing import Any, get_args

import numpy as np

from pipeline.engine.protocols import Source
from pipeline.errors import InputError, RequestError
from pipeline.geometry import Box, Grid
from pipeline.geometry.orientation import canonical, turned_grid
from pipeline.io.raster.placement import HOW_TO_PLACE, assumed_spacing, ground_spacing, middle_of
from pipeline.jobs.read_options import InputRequirements, ReadOptions, resolve_read_options
from pipeline.models.card import Domain, Normalization, Range
from pipeline.models.inference.fit import Scaling
from pipeline.models.inference.unlikeness import appearance_of
from pipeline.sources.appearance import Look, finer_by, looks_of, sampled
from pipeline.sources.passes import slabs
from pipeline.sources.percentiles import stretch
from pipeline.sources.statistics import NO_STATISTICS, InputStatistics, MomentAccumulator
from pipeline.training.class_counts import ClassCounts, count_classes
from pipeline.training.config import Training
from pipeline.training.items import Item, Part, open_pair

Numbers = tuple[float, ...]
_PLACES = 5
"""Samples of a scene along each side."""
_MOST_PLACES = 100
"""Places of scenes that a card names."""


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
    ranges: tuple[Range, ...] = ()
    """Lowest and highest value of each channel, for a model that does not scale each input by itself."""
    ground: tuple[float, float] | None = None
    """Height and width in meters of a pixel of a scene; None where they are unknown."""
    looks: Look | None = None
    """What samples of its values look like; None where they say nothing."""
    middle: tuple[float, float] | None = None
    """Longitude and latitude of the middle of a scene; None where they are unknown."""


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
        ranges = () if how.normalization in ("zscore", "percentile") else _ranges(image)
        if how.normalization == "zscore":
            own = InputStatistics.of_moments(moments)
        ground = _ground(training, item, image.grid)
        looks = _looks(training, image, ground)
        middle = middle_of(image.grid) if image.grid.is_scene else None
        return ItemStatistics(item, reading, image.grid, class_counts, own, moments, ranges, ground, looks, middle)
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


def _ranges(image: Source) -> tuple[Range, ...]:
    """Return the lowest and the highest finite, valid value of each channel; 0 and 0 without any."""
    found = [(inf, -inf)] * image.channels
    for _, pixels in slabs(image, 1 if len(image.grid.shape) == 3 else 256):
        for channel, plane in enumerate(pixels.values):
            values = plane[np.isfinite(plane) if pixels.valid is None else np.isfinite(plane) & pixels.valid]
            if values.size:
                low, high = found[channel]
                found[channel] = min(low, float(values.min())), max(high, float(values.max()))
    return tuple((low, high) if low <= high else (0.0, 0.0) for low, high in found)


def _looks(training: Training, image: Source, ground: tuple[float, float] | None) -> Look | None:
    """Return the looks of samples from all over an image, in pixels of about the model's size."""
    finer = finer_by(training.samples.spacing if training.kind == "scene" else None, ground)
    return looks_of(sampled(image, Box.whole(image.grid.shape), _PLACES, finer), finer)


def _ground(training: Training, item: Item, grid: Grid) -> tuple[float, float] | None:
    """Return the size of a scene's pixels in meters on the ground, which a spacing of the samples needs."""
    if training.kind == "volume":
        return None
    if training.samples.spacing is None:
        return ground_spacing(grid)
    if (found := assumed_spacing(grid)) is None:
        raise InputError(
            f"{item.image}: the size of its pixels on the ground is unknown, but samples.spacing is "
            f"{training.samples.spacing} m; {HOW_TO_PLACE}"
        )
    return found


def items_of(training: Training, statistics: Sequence[ItemStatistics]) -> dict[str, Any]:
    """Return how many items of each part there are, their cells, the share of each class, and where scenes lie.

    It is for the card of the model, as JSON values. Places are longitudes and latitudes to a tenth of a degree.
    """
    parts = {part: [one for one in statistics if one.item.part == part] for part in get_args(Part)}
    return {part: _summary(training, found) for part, found in parts.items() if found}


def _summary(training: Training, found: Sequence[ItemStatistics]) -> dict[str, Any]:
    totals = sum((one.class_counts.totals for one in found), np.zeros(len(training.classes), np.int64))
    shares = zip(training.classes, (totals / max(1, totals.sum())).round(4).tolist(), strict=True)
    places = sorted({(round(one.middle[0], 1), round(one.middle[1], 1)) for one in found if one.middle is not None})
    return {
        "count": len(found),
        "cells": sum(prod(one.grid.shape) for one in found),
        **({"classes": {entry.name: share for entry, share in shares}} if totals.any() else {}),
        **({"places": [list(place) for place in places[:_MOST_PLACES]]} if places else {}),
    }


def domain_of(training: Training, statistics: Sequence[ItemStatistics]) -> Domain:
    """Return what the training items are, for the card of the model: values, and sizes of pixels, voxels and volumes.

    Sizes of pixels include those that the augmentation makes, unless all samples have one spacing.
    """
    items = [found for found in statistics if found.item.part == "train"]
    values = tuple(_range_of(*zip(*ranges, strict=True)) for ranges in zip(*(one.ranges for one in items), strict=True))
    looks = [found.looks for found in items if found.looks is not None]
    appearance = appearance_of(looks, normalization_of(training, statistics))
    if training.kind == "scene":
        resolution = _resolution(training, [one.ground for one in items if one.ground is not None])
        return Domain(values, resolution, appearance=appearance)
    turned = [turned_grid(one.grid, *canonical(one.grid, orientation=training.samples.orientation)) for one in items]
    spacings = zip(*(grid.spacing[::-1] for grid in turned), strict=True)
    views = zip(*(np.multiply(grid.spacing, grid.shape)[::-1].tolist() for grid in turned), strict=True)
    return Domain(values, None, tuple(map(_range_of, spacings)), tuple(map(_range_of, views)), appearance)


def _resolution(training: Training, found: Sequence[tuple[float, float]]) -> Range | None:
    if not found:
        return None
    low, high = _range_of([sqrt(height * width) for height, width in found])
    least, most = (1.0, 1.0) if training.samples.spacing else training.augmentation.scale
    return _rounded(low / most), _rounded(high / least)


def _range_of(*numbers: Iterable[float]) -> Range:
    """Return the smallest and the largest of numbers; of the ends of ranges, of all lows and all highs."""
    known = [number for part in numbers for number in part]
    return _rounded(min(known)), _rounded(max(known))


def _rounded(number: float) -> float:
    return float(f"{number:.6g}")


def _joined(parts: Sequence[MomentAccumulator]) -> tuple[float, float]:
    """Mean and standard deviation of several sets together."""
    counts, means, stds = (np.array(column) for column in zip(*((p.count, p.mean, p.std) for p in parts), strict=True))
    total = max(1, counts.sum())
    mean = float((counts * means).sum() / total)
    return mean, float(np.sqrt((counts * (stds**2 + (means - mean) ** 2)).sum() / total))
