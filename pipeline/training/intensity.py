"""Random changes of an image that leave labels alone, drawn as plain numbers and applied to tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.training.config import Augmentation
from pipeline.training.patch import SpatialAugmentation


@dataclass(frozen=True)
class IntensityAugmentation:
    """How the values of one image are changed; each channel of the file alike in all of its slices."""

    brightness: float
    contrast: float
    gamma: float
    color: tuple[float, ...]
    noise: float
    blur: float
    """Standard deviation of the Gaussian, in pixels; 0: none."""
    seed: int
    """Of the noise."""


def draw_spatial(
    rng: np.random.Generator, how: Augmentation, spacing: tuple[float, float], *, square: bool
) -> SpatialAugmentation:
    """Draw how a patch lies whose model pixels have `spacing` cells of the item, down and across."""
    low, high = np.log2(how.scale)
    zoom = 2 ** rng.uniform(low, high)
    apart = 1 + how.stretch * rng.uniform(-1, 1)
    turns = int(rng.integers(4)) if square else 2 * int(rng.integers(2))
    return SpatialAugmentation(
        zoom=(spacing[0] / zoom * apart, spacing[1] / zoom / apart),
        rotation=float(how.rotation * rng.uniform(-1, 1)),
        flips=(
            "vertical" in how.flips and bool(rng.integers(2)),
            "horizontal" in how.flips and bool(rng.integers(2)),
        ),
        turns=turns if how.quarter_turns else 0,
    )


def draw_intensity(rng: np.random.Generator, how: Augmentation, channels: int) -> IntensityAugmentation:
    """Draw the change of an image of `channels` channels."""

    def spread(most: float) -> float:
        return float(most * rng.uniform(-1, 1))

    return IntensityAugmentation(
        brightness=spread(how.brightness),
        contrast=1 + spread(how.contrast),
        gamma=float(np.exp(spread(how.gamma))),
        color=tuple(1 + spread(how.color) for _ in range(channels)),
        noise=float(how.noise * rng.uniform()),
        blur=float(rng.uniform(0.3, 1.2)) if rng.uniform() < how.blur else 0.0,
        seed=int(rng.integers(2**31)),
    )


def apply_intensity(image: Tensor, augmentation: IntensityAugmentation) -> Tensor:
    """An image `(channels times slices, h, w)` after `augmentation`."""
    slices = len(image) // len(augmentation.color)
    gains = torch.tensor(augmentation.color).repeat_interleave(slices).view(-1, 1, 1)
    middle = image.mean()
    image = (image - middle) * augmentation.contrast * gains + middle + augmentation.brightness
    if augmentation.gamma != 1:
        low, high = image.amin(), image.amax()
        span = (high - low).clamp(min=1e-6)
        image = ((image - low) / span) ** augmentation.gamma * span + low
    if augmentation.blur:
        image = _blurred(image, augmentation.blur)
    if augmentation.noise:
        generator = torch.Generator().manual_seed(augmentation.seed)
        image = image + augmentation.noise * torch.randn(image.shape, generator=generator)
    return image


def _blurred(image: Tensor, deviation: float) -> Tensor:
    reach = max(1, round(3 * deviation))
    at = torch.arange(-reach, reach + 1, dtype=torch.float32)
    line = torch.exp(-(at**2) / (2 * deviation**2))
    line = line / line.sum()
    padded = functional.pad(image[:, None], (reach,) * 4, mode="replicate")
    down = functional.conv2d(padded, line.view(1, 1, -1, 1))
    return functional.conv2d(down, line.view(1, 1, 1, -1))[:, 0]
