"""Physical values of an input: stored values, scaled and shifted. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.engine.protocols import Pixels, Source
from pipeline.geometry import Box
from pipeline.sources.overviews import overview_of
from pipeline.sources.validity import is_scale, valid_mask


@dataclass(frozen=True)
class Calibration:
    """Physical values are `stored * scale + offset` for each channel, as in GDAL."""

    scale: tuple[float, ...]
    """One per channel, not 0."""
    offset: tuple[float, ...]
    """One per channel."""

    def __post_init__(self) -> None:
        if not all(map(is_scale, self.scale, self.offset)):
            raise ValueError(f"scales must be finite and not 0 in float32, and offsets finite, got {self}")

    def __str__(self) -> str:
        return f"scale {_words(self.scale)}, offset {_words(self.offset)}"

    @property
    def is_identity(self) -> bool:
        """Whether it changes no value."""
        return set(self.scale) == {1.0} and set(self.offset) == {0.0}


class CalibratedSource(Source):
    """An input in physical values: float32, computed in float64 and rounded once."""

    def __init__(self, source: Source, calibration: Calibration) -> None:
        self._source, self._calibration = source, calibration
        self.info = replace(source.info, dtype=np.dtype(np.float32), nodata=None)

    def read(self, box: Box) -> Pixels:
        """Read the physical pixels of `box`; they are valid where the stored ones are, and they are plausible."""
        stored, valid = self._source.read(box)
        values = np.empty(stored.shape, np.float32)
        pairs = zip(self._calibration.scale, self._calibration.offset, strict=True)
        with np.errstate(over="ignore"):  # beyond float32 becomes infinite, hence not valid
            for plane, into, (scale, offset) in zip(stored, values, pairs, strict=True):
                into[...] = plane.astype(np.float64) * scale + offset
        return Pixels(values, valid_mask(values, shown=valid))

    def overview(self, cells: int, *, coarsest: bool = False) -> Source | None:
        """Return the finest overview in physical values, if it has at least `cells` cells; None otherwise."""
        found = overview_of(self._source, cells, coarsest=coarsest)
        return None if found is None else CalibratedSource(found, self._calibration)

    def close(self) -> None:
        """Close the file."""
        self._source.close()


def _words(numbers: tuple[float, ...]) -> str:
    """The numbers, or one number if all are equal."""
    return ",".join(f"{number:g}" for number in (numbers[:1] if len(set(numbers)) == 1 else numbers))
