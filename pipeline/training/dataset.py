"""Samples by number: the same number gives the same sample, in any process and after any restart."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from pipeline.engine.protocols import Pixels, Source
from pipeline.geometry import Box, Grid, Lattice
from pipeline.geometry.orientation import canonical, turned_grid
from pipeline.jobs.read_options import ReadOptions
from pipeline.models.card import Normalization, Pair
from pipeline.sources.reoriented import ReorientedSource
from pipeline.training.class_counts import class_numbers
from pipeline.training.config import Training, View
from pipeline.training.dataset_statistics import ItemStatistics, scaling_of
from pipeline.training.intensity import apply_intensity, draw_intensity, draw_spatial
from pipeline.training.items import NoLabels
from pipeline.training.patch import IGNORE, Sample, SpatialAugmentation, extract_patch, source_size

OPEN = 32
"""Items that are open at a time, in each process."""
_TRIES = 10


class InMemorySource(Source):
    """A `Source` that keeps all of another in memory, for those that can only be read from their beginning."""

    def __init__(self, source: Source) -> None:
        self.info = replace(source.info, sequential=False)
        self._pixels = source.read(Box.whole(source.grid.shape))
        source.close()

    def read(self, box: Box) -> Pixels:
        """Pixels of `box`."""
        values, valid = self._pixels
        return Pixels(values[(slice(None), *box.slices)], None if valid is None else valid[box.slices])

    def close(self) -> None:
        """Nothing is open."""


class TrainingPatches(Dataset[Sample]):
    """Random samples of the training items, by number."""

    def __init__(
        self, training: Training, statistics: Sequence[ItemStatistics], normalization: Normalization, numbers: range
    ) -> None:
        self._training = training
        labeled, unlabeled = (
            [entry for entry in statistics if entry.item.part == part] for part in ("train", "unlabeled")
        )
        self._items = [*labeled, *unlabeled]
        self._scalings = [scaling_of(normalization, entry) for entry in self._items]
        self._numbers = numbers
        self._labeled, self._unlabeled = range(len(labeled)), range(len(labeled), len(self._items))
        self._sizes = np.array([np.prod(entry.grid.shape, dtype=float) for entry in self._items])
        self._totals = np.array([entry.class_counts.totals for entry in labeled])

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> Sample:
        """The sample, drawn from its own number and the seed alone."""
        rng = np.random.default_rng([self._training.seed, self._numbers[index]])
        how = self._training.samples
        if self._unlabeled and rng.uniform() < how.unlabeled:
            return self._placed(rng, self._unlabeled)
        return self._evenly(rng) if rng.uniform() < how.balanced else self._anywhere(rng)

    def _evenly(self, rng: np.random.Generator) -> Sample:
        """A patch around a pixel of a class; every class comes equally often."""
        present = np.flatnonzero(self._totals.sum(0))
        label = int(rng.choice(present))
        by_item = self._totals[:, label] / self._totals[:, label].sum()
        chosen = int(rng.choice(len(self._items), p=by_item))
        block = self._items[chosen].class_counts.draw(rng, label)
        return self._sample(rng, chosen, self._pixel(rng, chosen, block, label))

    def _anywhere(self, rng: np.random.Generator) -> Sample:
        """A patch of any place, drawn again while one class fills too much of it."""
        for _ in range(_TRIES):
            sample = self._placed(rng, self._labeled)
            learned = sample.labels[sample.labels != IGNORE]
            most = int(learned.bincount().max()) if len(learned) else 0
            if 0 < most <= self._training.samples.most_of_one * len(learned):
                break
        return sample

    def _placed(self, rng: np.random.Generator, among: range) -> Sample:
        """A patch of any place of some items, the larger ones more often."""
        sizes = self._sizes[among.start : among.stop]
        chosen = among.start + int(rng.choice(len(among), p=sizes / sizes.sum()))
        place = tuple(int(rng.integers(size)) for size in self._items[chosen].grid.shape)
        return self._sample(rng, chosen, place)

    def _pixel(self, rng: np.random.Generator, chosen: int, block: Box, label: int) -> tuple[int, ...]:
        _, labels = _opened(self._training, self._items[chosen], None)
        values, valid = labels.read(block)
        places = np.argwhere(class_numbers(values[0], valid, self._training.data.ignore) == label)
        return tuple(int(i) for i in places[rng.integers(len(places))] + block.start)

    def _sample(self, rng: np.random.Generator, chosen: int, place: tuple[int, ...]) -> Sample:
        """The patch that holds the cell at `place`, somewhere."""
        entry, how = self._items[chosen], self._training.samples
        view = None if entry.grid.is_scene else how.views[int(rng.integers(len(how.views)))]
        source, labels = _opened(self._training, entry, view)
        place = _in_view(place, entry.grid, view, how.orientation)
        cells = cells_per_pixel(self._training, entry, source.grid)
        square = how.patch[0] == how.patch[1] and bool(np.isclose(*cells))
        spatial = draw_spatial(rng, self._training.augmentation, cells, square=square)
        mirrored = bool(rng.integers(2)) and "sides" in self._training.augmentation.flips
        if mirrored and view != "sagittal":
            spatial = replace(spatial, flips=(spatial.flips[0], not spatial.flips[1]))
        start = _start(rng, place, source_size(how.patch, spatial), source.grid.shape)
        sample = extract_patch(
            source,
            labels,
            start,
            how.patch,
            spatial,
            self._scalings[chosen],
            margin=how.margin,
            ignore=self._training.data.ignore,
        )
        intensity = draw_intensity(rng, self._training.augmentation, len(self._training.channels))
        image = _reversed(sample.image, 2 * how.margin + 1) if mirrored and view == "sagittal" else sample.image
        return Sample(apply_intensity(image, intensity), sample.labels)


def _reversed(image: Tensor, slices: int) -> Tensor:
    """Slices of each channel in the opposite order."""
    return image.view(-1, slices, *image.shape[1:]).flip(1).view_as(image)


class ValidationPatches(Dataset[Sample]):
    """Patches of the validation items as the network sees them when it runs: the same ones each time."""

    def __init__(self, training: Training, statistics: Sequence[ItemStatistics], normalization: Normalization) -> None:
        self._training = training
        self._items = [entry for entry in statistics if entry.item.part == "validation"]
        self._scalings = [scaling_of(normalization, entry) for entry in self._items]
        places = [(index, *place) for index, entry in enumerate(self._items) for place in _places(training, entry)]
        self._places = places[:: max(1, len(places) // max(1, training.schedule.checks))]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        """The patch of that number."""
        chosen, view, start = self._places[index]
        entry = self._items[chosen]
        image, labels = _opened(self._training, entry, view)
        how = self._training.samples
        return extract_patch(
            image,
            labels,
            start,
            how.patch,
            SpatialAugmentation(cells_per_pixel(self._training, entry, image.grid)),
            self._scalings[chosen],
            margin=how.margin,
            ignore=self._training.data.ignore,
        )


def _places(training: Training, entry: ItemStatistics) -> list[tuple[View | None, tuple[int, ...]]]:
    """Views and starts of patches side by side that cover an item."""
    views: tuple[View | None, ...] = (None,) if entry.grid.is_scene else training.samples.views
    places = []
    for view in views:
        grid = entry.grid if view is None else _turned_grid(entry.grid, view, training.samples.orientation)
        cells = source_size(training.samples.patch, SpatialAugmentation(cells_per_pixel(training, entry, grid)))
        patch = (*(1,) * (len(grid.shape) - 2), *cells)
        nothing = (0,) * len(patch)
        lattice = Lattice(grid.shape, patch, nothing, nothing)
        places += [(view, start) for start in product(*lattice.starts)]
    return places


def cells_per_pixel(training: Training, entry: ItemStatistics, grid: Grid) -> tuple[float, float]:
    """Cells of an item per model pixel, down and across, in a view with this grid."""
    if training.samples.spacing is None:
        return (1 / (training.samples.zoom or 1.0),) * 2
    down, across = entry.ground or grid.spacing[-2:]
    return training.samples.spacing[0] / down, training.samples.spacing[1] / across


def _opened(training: Training, entry: ItemStatistics, view: View | None) -> tuple[Source, Source]:
    """Image and labels of an item, in `view`; as they are stored if None."""
    image = _open(entry.item.image, entry.reading)
    labels = _open(entry.item.label, ReadOptions()) if entry.item.label else NoLabels(entry.grid)
    if view is None:
        return image, labels
    turn = canonical(entry.grid, view, orientation=training.samples.orientation)
    return ReorientedSource(image, *turn), ReorientedSource(labels, *turn)


_open_sources: OrderedDict[tuple[str, ReadOptions], Source] = OrderedDict()


def close_all() -> None:
    """Close the items that are open in this process."""
    while _open_sources:
        _open_sources.popitem()[1].close()


def _open(path: str, reading: ReadOptions) -> Source:
    """A source that is open already, or now is; the one that was not asked for longest is closed."""
    key = path, reading
    if key not in _open_sources:
        source = reading.open(path)
        _open_sources[key] = InMemorySource(source) if source.info.sequential else source
        if len(_open_sources) > 2 * OPEN:
            _open_sources.popitem(last=False)[1].close()
    _open_sources.move_to_end(key)
    return _open_sources[key]


def _turned_grid(grid: Grid, view: View, orientation: str) -> Grid:
    return turned_grid(grid, *canonical(grid, view, orientation=orientation))


def _in_view(place: tuple[int, ...], grid: Grid, view: View | None, orientation: str) -> tuple[int, ...]:
    """The cell `place` of an item, in the axes of a view."""
    if view is None:
        return place
    order, flips = canonical(grid, view, orientation=orientation)
    return tuple(
        grid.shape[axis] - 1 - place[axis] if flip else place[axis] for axis, flip in zip(order, flips, strict=True)
    )


def _start(rng: np.random.Generator, place: tuple[int, ...], cells: Pair, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Where a patch of `cells` begins that holds `place` somewhere, and lies inside where it fits."""
    starts = [
        min(max(at - int(rng.integers(length)), 0), max(0, size - length))
        for at, length, size in zip(place[-2:], cells, shape[-2:], strict=True)
    ]
    return (*place[:-2], *starts)
