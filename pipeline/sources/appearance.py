"""What the values of an input look like, in a few numbers for each channel. NumPy only.

They are taken of samples: windows from all over a scene, or the middle of a volume. Inputs of one kind, such as images
of one sensor, or scans of one contrast, have similar ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine.protocols import Pixels, Source
from pipeline.geometry import Box
from pipeline.sources.validity import is_plausible

MEASURES = ("level", "contrast", "roughness", "asymmetry", "agreement")
"""Mean; logarithm of the standard deviation; logarithm of the mean difference of neighbors, in standard deviations;
mean minus median, likewise; correlation with the mean of the other channels."""
Reals = NDArray[np.floating[Any]]
Look = NDArray[np.float64]
"""`(measures, channels)`; NaN where something is not measured: the agreement of a single channel."""
_SIDE, _DEPTH = 256, 96
"""Cells of a side of a window of a scene, and of a volume."""
_LARGEST = 4
"""Windows of finer cells are larger by their number per model pixel, up to this."""
_FEWEST = 256
"""Valid cells below which a window says nothing."""


def finer_by(spacing: tuple[float, float] | None, native: tuple[float, float] | None) -> int:
    """Return how many cells of `native` spacing lie along a pixel of a model's `spacing`; 1 where one is unknown."""
    if spacing is None or native is None:
        return 1
    return max(1, round(min(own / here for own, here in zip(spacing, native, strict=True))))


def sample_boxes(within: Box, places: int, finer: int = 1) -> Iterator[Box]:
    """Yield the boxes of a sample: `places` along each side of a scene, or one in the middle of a volume.

    Args:
        within: What is sampled.
        places: Windows along each side of a scene.
        finer: Cells of a scene along the side of a pixel of the model.

    """
    scene = len(within.shape) == 2
    side = _SIDE * min(max(1, finer), _LARGEST) if scene else _DEPTH
    for place in product(range(places if scene else 1), repeat=len(within.shape)):
        start = [
            first + max(0, length * (2 * at + 1) // (2 * (places if scene else 1)) - side // 2)
            for first, length, at in zip(within.start, within.shape, place, strict=True)
        ]
        yield Box(tuple(start), tuple(at + side for at in start)).clip(within)


def sampled(source: Source, within: Box, places: int, finer: int = 1) -> list[Pixels]:
    """Read the boxes of a sample of a source; one in the middle of a scene that is read from its beginning."""
    return [source.read(box) for box in sample_boxes(within, 1 if source.info.sequential else places, finer)]


def looks_of(samples: Sequence[Pixels], finer: int = 1) -> Look | None:
    """Return the looks `(samples, measures, channels)` of samples; None if none of them says anything."""
    found = [look for pixels in samples if (look := look_of(coarser(pixels, finer))) is not None]
    return np.stack(found) if found else None


def look_of(pixels: Pixels) -> Look | None:
    """Return the look of a sample; None if it has too few valid cells other than 0, or a channel of one value."""
    values: Reals = pixels.values.astype(np.float32 if pixels.values.dtype.itemsize <= 4 else np.float64)
    seen = is_plausible(pixels.values).all(0) & (pixels.values != 0).any(0)
    if pixels.valid is not None:
        seen &= pixels.valid
    cells = values[:, seen] if not seen.all() else values.reshape(len(values), -1)
    if cells.shape[1] < _FEWEST or not (spread := _spread(cells)).all():
        return None
    mean, spread = cells.mean(1, dtype=np.float64), spread.astype(np.float64)
    rough = _differences(values, seen) / spread
    return np.stack([mean, np.log(spread), _logarithm(rough), (mean - np.median(cells, 1)) / spread, _agreement(cells)])


def coarser(pixels: Pixels, finer: int) -> Pixels:
    """Return a scene's pixels averaged in blocks of `finer` cells a side; valid where all are. A volume stays."""
    values, valid = pixels
    if finer <= 1 or values.ndim != 3 or min(values.shape[1:]) < finer:
        return pixels
    height, width = (side // finer for side in values.shape[1:])
    cut = np.s_[..., : height * finer, : width * finer]
    blocks = (height, finer, width, finer)
    with np.errstate(all="ignore"):
        averaged = values[cut].astype(np.float64).reshape(-1, *blocks).mean((2, 4))
    return Pixels(averaged, None if valid is None else np.asarray(valid[cut].reshape(blocks).all((1, 3))))


def _spread(cells: Reals) -> NDArray[np.float64]:
    mean = cells.mean(1, keepdims=True, dtype=np.float64)
    found: NDArray[np.float64] = np.sqrt(np.square(cells - mean.astype(cells.dtype)).mean(1, dtype=np.float64))
    return found


def _differences(values: Reals, seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean difference of neighboring cells that are both seen, of each channel, over all axes."""
    total, count = np.zeros(len(values)), 0
    for axis in range(seen.ndim):
        after, before = (_cut(axis, slice(1, None)), _cut(axis, slice(-1)))
        both = seen[after] & seen[before]
        with np.errstate(invalid="ignore", over="ignore"):
            steps = np.abs(values[(slice(None), *after)] - values[(slice(None), *before)])
        count += int(both.sum())
        steps[:, ~both] = 0
        total += steps.reshape(len(values), -1).sum(1, dtype=np.float64)
    return total / max(count, 1)


def _cut(axis: int, part: slice) -> tuple[slice, ...]:
    return (*(slice(None),) * axis, part)


def _logarithm(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.maximum(values, 1e-6))


def _agreement(cells: Reals) -> NDArray[np.float64]:
    """Return the correlation of each channel with the mean of the others; NaN for a single one."""
    if len(cells) == 1:
        return np.array([np.nan])
    centered = cells - cells.mean(1, keepdims=True, dtype=np.float64).astype(cells.dtype)
    products = (centered @ centered.T).astype(np.float64)
    own, both = np.diagonal(products), products.sum(1)
    with_others = both - own
    others = products.sum() - 2 * both + own
    length = np.sqrt(np.maximum(own * others, 0))
    found: NDArray[np.float64] = np.divide(with_others, length, out=np.zeros(len(cells)), where=length > 0)
    return found
