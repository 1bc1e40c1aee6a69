"""From a place in an item to a square of model pixels: read once, brought to the model's spacing, turned and cut."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, radians, sin
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.engine.protocols import Source
from pipeline.engine.reader import read_patch
from pipeline.geometry import Box
from pipeline.models.card import Pair
from pipeline.models.inference.fit import Scaling
from pipeline.training.class_counts import class_numbers

IGNORE = -1
"""Label of a pixel that is not learned from."""


@dataclass(frozen=True)
class SpatialAugmentation:
    """Zoom, rotation, flips and quarter turns of a patch: all that moves image and labels alike."""

    zoom: tuple[float, float] = (1.0, 1.0)
    """Cells of the item per model pixel, down and across."""
    rotation: float = 0.0
    """Degrees, anticlockwise."""
    flips: tuple[bool, bool] = (False, False)
    """Whether it is mirrored, down and across."""
    turns: int = 0
    """Quarter turns, anticlockwise."""


class Sample(NamedTuple):
    """What the network learns from once."""

    image: Tensor
    """Normalized, `(channels times slices, h, w)`, float32; 0 where nothing was observed."""
    labels: Tensor
    """Class numbers `(h, w)`, int64; `IGNORE` where not to be learned from."""


def rotated_size(patch: Pair, rotation: float) -> Pair:
    """Model pixels, down and across, that hold a patch however it is turned by `rotation` degrees."""
    height, width = patch
    down, across = abs(cos(radians(rotation))), abs(sin(radians(rotation)))
    return ceil(height * down + width * across), ceil(width * down + height * across)


def source_size(patch: Pair, spatial: SpatialAugmentation) -> Pair:
    """Cells of the item, down and across, that a patch is made of."""
    rows, columns = rotated_size(_turned(patch, spatial.turns), spatial.rotation)
    return max(1, round(rows * spatial.zoom[0])), max(1, round(columns * spatial.zoom[1]))


def extract_patch(
    image: Source,
    labels: Source,
    start: tuple[int, ...],
    patch: Pair,
    spatial: SpatialAugmentation,
    scaling: Scaling,
    *,
    margin: int = 0,
    ignore: tuple[int, ...] = (),
) -> Sample:
    """The patch whose footprint begins at `start` (row and column, after the slice in volumes).

    Mirrored where it reaches outside of the item, as the network sees it when it runs.
    """
    rows, columns = source_size(patch, spatial)
    box = Box(start, (*(at + 1 for at in start[:-2]), start[-2] + rows, start[-1] + columns))
    pixels = read_patch(image, box.grow((*(margin,) * len(start[:-2]), 0, 0)))
    truth = read_patch(labels, box)
    scaled = scaling(pixels.values[None], None if pixels.valid is None else pixels.valid[None])
    numbers = class_numbers(truth.values[0], _both(truth.valid, pixels.valid, margin, len(start)), ignore)
    sample = Sample(
        torch.from_numpy(scaled.reshape(-1, *scaled.shape[-2:])), torch.from_numpy(numbers.reshape(rows, columns))
    )
    return _apply_spatial(
        _resized(sample, rotated_size(_turned(patch, spatial.turns), spatial.rotation)), patch, spatial
    )


def _both(
    truth: NDArray[np.bool_] | None, pixels: NDArray[np.bool_] | None, margin: int, axes: int
) -> NDArray[np.bool_] | None:
    """Where both the labels and the image, in its own slice, were observed."""
    here = pixels if pixels is None or axes == 2 else pixels[margin : margin + 1]
    if truth is None or here is None:
        return here if truth is None else truth
    both: NDArray[np.bool_] = truth & here
    return both


def _resized(sample: Sample, size: Pair) -> Sample:
    """At `size`: the image bilinearly, averaged where it shrinks, as when the network runs; labels by the nearest."""
    if sample.labels.shape == size:
        return sample
    image = functional.interpolate(sample.image[None], size, mode="bilinear", antialias=True)[0]
    labels = functional.interpolate(sample.labels[None, None].double(), size, mode="nearest-exact")[0, 0].long()
    return Sample(image, labels)


def _apply_spatial(sample: Sample, patch: Pair, spatial: SpatialAugmentation) -> Sample:
    """Turned by the small rotation, cut from the middle, then mirrored and turned by right angles."""
    size = _turned(patch, spatial.turns)
    if spatial.rotation:
        sample = _rotated(sample, size, spatial.rotation)
    image, labels = (torch.rot90(_flipped(x, spatial.flips), spatial.turns, (-2, -1)) for x in sample)
    return Sample(image.contiguous(), labels.contiguous())


def _rotated(sample: Sample, size: Pair, degrees: float) -> Sample:
    """The middle `size` pixels after a rotation; beyond the patch nothing is seen or learned."""
    down, across = (torch.arange(length, dtype=torch.float32) - (length - 1) / 2 for length in size)
    y, x = torch.meshgrid(down, across, indexing="ij")
    turn = radians(degrees)
    rows, columns = sample.labels.shape
    at_y = (y * cos(turn) + x * sin(turn)) * 2 / rows
    at_x = (x * cos(turn) - y * sin(turn)) * 2 / columns
    grid = torch.stack([at_x, at_y], -1)[None]
    image = functional.grid_sample(
        sample.image[None], grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    shifted = (sample.labels + 1)[None, None].float()  # what lies outside becomes 0, and then IGNORE
    labels = functional.grid_sample(shifted, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return Sample(image[0], labels[0, 0].long() - 1)


def _flipped(x: Tensor, flips: tuple[bool, bool]) -> Tensor:
    return x.flip([axis for axis, flip in zip((-2, -1), flips, strict=True) if flip])


def _turned(patch: Pair, turns: int) -> Pair:
    return patch if turns % 2 == 0 else (patch[1], patch[0])
