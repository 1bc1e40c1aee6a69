"""The pairs that a training learns from: found, split into training and validation, and checked against each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.engine.protocols import Pixels, Source, SourceInfo
from pipeline.errors import InputError, RequestError
from pipeline.geometry import Box, Grid
from pipeline.geometry.grid import difference
from pipeline.io.band_names import BandName
from pipeline.io.opening import open_source
from pipeline.io.suffixes import stem_of
from pipeline.io.tables import read_rows
from pipeline.jobs.inputs import find_inputs
from pipeline.training.config import Data

Part = Literal["train", "validation", "unlabeled"]


@dataclass(frozen=True)
class Item:
    """An image and its labels."""

    image: str
    label: str
    """Empty if it has none."""
    part: Part

    @property
    def stem(self) -> str:
        """The image's name without folder and suffix."""
        return stem_of(self.image)


class NoLabels(Source):
    """Labels of an image that has none: nodata everywhere."""

    def __init__(self, grid: Grid) -> None:
        block = (*(1,) * (len(grid.shape) - 1), grid.shape[-1])
        self.info = SourceInfo(grid=grid, channels=1, dtype=np.dtype(np.uint8), block=block)

    def read(self, box: Box) -> Pixels:
        """Return nothing observed."""
        return Pixels(np.zeros((1, *box.shape), np.uint8), np.zeros(box.shape, bool))

    def close(self) -> None:
        """Nothing is open."""


def find_items(data: Data, folder: Path) -> tuple[Item, ...]:
    """All pairs of a training, in order; paths in `data` are relative to `folder`.

    Raises RequestError where nothing is found, a label is missing, or nothing is left to train on.
    """
    pairs = _of_table(data, folder) if data.table is not None else _of_pattern(data, folder)
    pairs += [(image, "", "unlabeled") for image in _unlabeled(data, folder)]
    items = tuple(Item(*pair) for pair in pairs if not _matches(stem_of(pair[0]), data.exclude))
    if not any(item.part == "train" for item in items):
        raise RequestError(f"data: none of {len(items)} pairs is left to train on; check validation and exclude")
    for item in items:
        if item.label and not Path(item.label).exists():
            raise RequestError(f"data: {item.image} has no labels: {item.label} does not exist")
    return items


def open_pair(item: Item, bands: tuple[BandName, ...] | None) -> tuple[Source, Source]:
    """The image and the labels of an item; InputError with both if their grids differ or the labels are not labels."""
    image = open_source(item.image, bands=bands)
    if not item.label:
        return image, NoLabels(image.grid)
    label = open_source(item.label)
    try:
        _check_pair(item, image, label)
    except InputError:
        image.close()
        label.close()
        raise
    return image, label


def _check_pair(item: Item, image: Source, label: Source) -> None:
    pair = f"{item.label}, the labels of {item.image}:"
    if label.channels != 1:
        raise InputError(f"{pair} must be one channel of whole numbers, got {label.channels}")
    if words := difference(image.grid, label.grid):
        raise InputError(f"{item.image} and its labels {item.label}: {words}")


def _unlabeled(data: Data, folder: Path) -> list[str]:
    return list(find_inputs([_under(folder, pattern) for pattern in data.unlabeled])) if data.unlabeled else []


def _of_pattern(data: Data, folder: Path) -> list[tuple[str, str, Part]]:
    if data.images is None or data.labels is None:
        raise RequestError("data: give images and labels, or a table")
    images = find_inputs([_under(folder, data.images)])
    return [(image, _label_of(image, data.labels, folder), _part(stem_of(image), data)) for image in images]


def _label_of(image: str, rule: str, folder: Path) -> str:
    try:
        return _under(folder, rule.format(stem=stem_of(image), folder=Path(image).parent))
    except (KeyError, IndexError, ValueError) as error:
        raise RequestError(f"data.labels = {rule!r}: only {{stem}} and {{folder}} are allowed in braces") from error


def _of_table(data: Data, folder: Path) -> list[tuple[str, str, Part]]:
    path = Path(_under(folder, data.table or ""))
    pairs: list[tuple[str, str, Part]] = []
    for number, row in enumerate(read_rows(path, "data.table: "), 2):
        image, label, split = row.get("image"), row.get("label"), row.get("split")
        if not image or not label:
            raise RequestError(f"{path}, line {number}: needs the columns image and label, has {', '.join(row)}")
        if split not in (None, "", "train", "validation"):
            continue
        image = _under(path.parent, image)
        part: Part = "validation" if split == "validation" else _part(stem_of(image), data)
        pairs.append((image, _under(path.parent, label), part))
    return pairs


def _part(stem: str, data: Data) -> Part:
    return "validation" if _matches(stem, data.validation) else "train"


def _matches(stem: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(stem, pattern) for pattern in patterns)


def _under(folder: Path, name: str) -> str:
    return name if "://" in name else str(folder / name)
