"""PSPNet behind the engine's `Predictor`: native pixels in, native scores out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.models.card import Pair
from pipeline.models.fit import Floats, Scaling, model_patch, native_patch
from pipeline.models.store import Model

__all__ = ["Scaling", "TorchPredictor", "native_patch"]


class TorchPredictor:
    """A `Predictor` for one input: scales its values, meets the model's spacing, runs the network.

    On the CPU a call computes one patch on one torch thread, so that bytes do not depend on how many patches come
    together or how many calls run at once; speed comes from `threads` calls side by side. On a GPU one call at a
    time computes a full batch; a smaller one is filled up, so that the same kernels are used.
    """

    classes: int
    batch: int
    threads: int

    def __init__(
        self,
        model: Model,
        scaling: Scaling,
        native_spacing: tuple[float, float] | None = None,
        *,
        device: str = "cpu",
        batch: int = 16,
        threads: int | None = None,
    ) -> None:
        """Set up for an input of `native_spacing` (height, width); `batch` counts on a GPU, `threads` on the CPU."""
        on_cpu = torch.device(device).type == "cpu"
        self.card = model.card
        self.scaling = scaling
        self.classes = len(model.card.classes)
        self.batch = 1 if on_cpu else batch
        self.threads = (threads or os.cpu_count() or 1) if on_cpu else 1
        self._device = torch.device(device)
        self._network = model.network.to(self._device)
        self._spacing = native_spacing

    def __call__(self, values: NDArray[Any], valid: NDArray[np.bool_] | None) -> Floats:
        """Scores `(n, classes, h, w)` for scenes' values `(n, channels, h, w)`.

        Volumes give `(n, classes, 1, h, w)` for `(n, channels, 1 + 2 margin, h, w)`. Scores are probabilities, or
        logits if the card blends those.
        """
        scaled = self.scaling(values, valid)
        stacked = torch.from_numpy(scaled.reshape(len(scaled), -1, *scaled.shape[-2:]))
        scores = np.empty((len(stacked), self.classes, *stacked.shape[-2:]), np.float32)
        with _one_thread(), torch.inference_mode():
            for first in range(0, len(stacked), self.batch):
                part = stacked[first : first + self.batch]
                scores[first : first + len(part)] = self._scores(_filled(part, self.batch))[: len(part)]
        return scores if self.card.kind == "scene" else scores[:, :, None]

    def _scores(self, image: Tensor) -> Floats:
        height, width = image.shape[-2:]
        seen = model_patch(self.card, self._spacing, (height, width))
        scores = self._network(_resized(image.to(self._device), seen))
        scores = _resized(scores, (height, width))
        scores = scores.softmax(1) if self.card.averaging == "softmax" else scores
        return scores.cpu().numpy()


def _resized(x: Tensor, size: Pair) -> Tensor:
    if x.shape[-2:] == size:
        return x
    return functional.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)


def _filled(part: Tensor, count: int) -> Tensor:
    if len(part) == count:
        return part
    return torch.cat([part, part[-1:].expand(count - len(part), *part.shape[1:])])


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch computes on the calling thread alone; its count of threads is a property of each calling thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
