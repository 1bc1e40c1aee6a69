"""Clean a finished mask before it is written; each step is one pass in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.classes import ClassTable, LabelClass, background_of
from pipeline.decoding import did_you_mean
from pipeline.engine import Pixels, Source
from pipeline.errors import RequestError
from pipeline.geometry import Box
from pipeline.io.mask_files import Mask
from pipeline.sources.components import ComponentFilter
from pipeline.sources.sieve import SievedLabels


@dataclass(frozen=True)
class CleaningOptions:
    """What is done, in this order; nothing by default."""

    sieve: int = 0
    """Regions of fewer cells take the class of most of their border."""
    largest: bool = False
    """For volumes: keep only the largest component of each structure."""
    min_volume: float = 0.0
    """For volumes: milliliters below which a component becomes background."""
    structure: str | None = None
    """The one class to keep, as 1."""


def clean_mask(mask: Mask, path: str | Path, how: CleaningOptions) -> Mask:
    """Return the mask that was read from `path`, cleaned; its provenance records how.

    Raises:
        RequestError: If an option does not apply to the mask.

    """
    if how.sieve:
        mask = _with_labels(mask, SievedLabels(mask.labels, mask.nodata, how.sieve), {"sieve": how.sieve})
    if how.largest or how.min_volume:
        mask = _keep_components(mask, path, how)
    return mask if how.structure is None else _keep_class(mask, path, how.structure)


def _with_labels(mask: Mask, labels: Source, how: Mapping[str, Any]) -> Mask:
    return replace(mask, labels=labels, provenance={**mask.provenance, **how})


def _keep_components(mask: Mask, path: str | Path, how: CleaningOptions) -> Mask:
    if mask.grid.is_scene:
        raise RequestError(f"{path}: --largest and --min-volume are only for volumes; this is a scene, so use --sieve")
    voxel = mask.grid.cell_volume / 1000
    least = ceil(how.min_volume / voxel)
    pieces = ComponentFilter(
        mask.labels, _background_of(path, mask.classes), mask.nodata, least=least, largest=how.largest
    )
    return _with_labels(mask, pieces, {"largest": how.largest, "min_volume": how.min_volume})


def _background_of(path: str | Path, classes: ClassTable) -> int:
    background = background_of(classes)
    if background is None:
        there = ", ".join(entry.name for entry in classes) or "no names"
        raise RequestError(
            f"{path}: has no class named background to give removed pieces (it has {there}); --sieve gives "
            "small ones to the class around them"
        )
    return background


def _keep_class(mask: Mask, path: str | Path, structure: str) -> Mask:
    found = [entry for entry in mask.classes if entry.name == structure]
    if not found:
        there = [entry.name for entry in mask.classes]
        hint = did_you_mean(structure, there)
        raise RequestError(f"{path}: has no class {structure!r}{hint}; it has {', '.join(there) or 'none'}")
    table = (LabelClass(0, "background", (0, 0, 0)), replace(found[0], value=1))
    single = SingleClass(mask.labels, found[0].value, mask.nodata)
    return replace(_with_labels(mask, single, {"structure": structure}), classes=table)


class SingleClass(Source):
    """One class of a mask: 1 where it is, 0 where another is; nodata stays."""

    def __init__(self, labels: Source, value: int, nodata: int) -> None:
        self._labels, self._value, self._nodata = labels, value, nodata
        self.info = labels.info

    def read(self, box: Box) -> Pixels:
        """Return the labels of `box`, `(1, *box.shape)`."""
        values, valid = self._labels.read(box)
        labels = np.where(values == self._nodata, self._nodata, values == self._value)
        return Pixels(labels.astype(self.dtype), valid)

    def close(self) -> None:
        """Close the mask."""
        self._labels.close()
