"""PSPNet behind the engine's `Predictor`: native pixels in, native scores out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.models.inference.fit import Floats, Scaling
from pipeline.models.inference.passes import scores_of, stack_slices
from pipeline.models.inference.runtime import InferenceModel
from pipeline.models.inference.tta import NO_AUGMENTATION, TTA


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
        stacked = stack_slices(scaled)
        scores = np.empty((len(stacked), self.classes, *stacked.shape[-2:]), np.float32)
        with one_thread(), torch.inference_mode():
            for image, out in zip(torch.split(stacked, 1), scores, strict=True):
                out[...] = scores_of(self._model, self._spacing, image, self._augmentation)[0].numpy()
        return scores if self._model.card.kind == "scene" else scores[:, :, None]


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes on the calling thread alone; its count of threads is a property of each calling thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
