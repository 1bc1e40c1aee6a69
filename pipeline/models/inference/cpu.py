"""PSPNet behind the engine's `Predictor`: native pixels in, native scores out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.models.card import Card, Pair
from pipeline.models.inference.fit import Floats, Scaling, model_patch
from pipeline.models.inference.runtime import InferenceModel
from pipeline.models.inference.tta import NO_AUGMENTATION, TTA, Turn


class CpuPredictor:
    """A `Predictor` for one input: scales its values, meets the model's spacing, runs the network.

    A call computes one patch on one thread, so that bytes do not depend on how many patches come together or how many
    calls run at once; speed comes from `threads` calls side by side.
    """

    classes: int
    batch: int = 1
    threads: int

    def __init__(
        self,
        model: InferenceModel,
        scaling: Scaling,
        native_spacing: tuple[float, float] | None = None,
        *,
        augmentation: TTA = NO_AUGMENTATION,
        threads: int | None = None,
    ) -> None:
        """Set up for an input of `native_spacing` (height, width); as many `threads` as there are cores if None."""
        self.classes = len(model.card.classes)
        self.threads = threads or os.cpu_count() or 1
        self._model = model
        self._scaling = scaling
        self._spacing = native_spacing
        self._augmentation = augmentation

    def __call__(self, values: NDArray[Any], valid: NDArray[np.bool_] | None) -> Floats:
        """Scores `(n, classes, h, w)` for scenes' values `(n, channels, h, w)`.

        Volumes give `(n, classes, 1, h, w)` for `(n, channels, 1 + 2 margin, h, w)`. Scores are probabilities, or
        logits if the card blends those.
        """
        scaled = self._scaling(values, valid)
        stacked = _stacked(scaled)
        scores = np.empty((len(stacked), self.classes, *stacked.shape[-2:]), np.float32)
        with _one_thread(), torch.inference_mode():
            for image, out in zip(torch.split(stacked, 1), scores, strict=True):
                out[...] = scores_of(self._model, self._spacing, image, self._augmentation)[0].numpy()
        return scores if self._model.card.kind == "scene" else scores[:, :, None]


def scores_of(
    model: InferenceModel,
    native_spacing: tuple[float, float] | None,
    image: Tensor,
    augmentation: TTA = NO_AUGMENTATION,
) -> Tensor:
    """Scores `(n, classes, h, w)` on the pixels of scaled patches `(n, channels, h, w)` of an input.

    Each turn at each scale of `augmentation` gives probabilities, or logits if the card blends those. They are brought
    back to the patch's pixels and averaged in float32, in one order.
    """
    passes = _passes(model, native_spacing, image, augmentation)
    return reduce(torch.add, passes) / (len(augmentation.scales) * len(augmentation.turns))


def _passes(
    model: InferenceModel, native_spacing: tuple[float, float] | None, image: Tensor, augmentation: TTA
) -> Iterator[Tensor]:
    native = int(image.shape[-2]), int(image.shape[-1])
    for size in augmentation.sizes(model_patch(model.card, native_spacing, native)):
        resized = _resized(image, size)
        for turn in augmentation.turns:
            scores = _resized(_unturned(model.network(_turned(resized, turn)), turn), native)
            yield scores.softmax(1) if model.card.averaging == "softmax" else scores


def _turned(x: Tensor, turn: Turn) -> Tensor:
    swapped = x.mT if turn.swapped else x
    return swapped.flip(turn.flipped).contiguous() if turn.swapped or turn.flipped else x


def _unturned(x: Tensor, turn: Turn) -> Tensor:
    straight = x.flip(turn.flipped) if turn.flipped else x
    return straight.mT if turn.swapped else straight


def image_of(card: Card, native_spacing: tuple[float, float] | None, scaled: Floats) -> Tensor:
    """What the network is given, `(n, in_channels, h, w)`, for scaled patches `(n, channels, *seen)` of an input."""
    stacked = _stacked(scaled)
    return _resized(stacked, model_patch(card, native_spacing, (int(stacked.shape[-2]), int(stacked.shape[-1]))))


def _stacked(scaled: Floats) -> Tensor:
    return torch.from_numpy(scaled.reshape(len(scaled), -1, *scaled.shape[-2:]))


def _resized(x: Tensor, size: Pair) -> Tensor:
    if x.shape[-2:] == size:
        return x
    return functional.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch computes on the calling thread alone; its count of threads is a property of each calling thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
