"""MONAI's SlidingWindowInferer, set up as in its tutorials."""

from __future__ import annotations

from monai.inferers.inferer import SlidingWindowInferer
from torch import Tensor

from pipeline.models.store import Model


def labels(image: Tensor, model: Model) -> Tensor:
    """Most likely classes `(h, w)` of an image `(1, channels, h, w)`."""
    (side, _), (overlap, _) = model.card.patch, model.card.overlap
    inferer = SlidingWindowInferer(model.card.patch, sw_batch_size=4, overlap=overlap / side, mode="gaussian")
    return inferer(image, model.network)[0].argmax(0)
