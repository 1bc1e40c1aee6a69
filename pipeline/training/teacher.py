"""Models that a training learns from: probabilities of what the learner sees."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from pipeline.errors import RequestError
from pipeline.models.card import Card, Normalization
from pipeline.models.catalogue import names
from pipeline.models.store import Model, load_model
from pipeline.training.config import Training

_SIMPLE = ("fixed", "window")
"""Normalizations that are a mean and a deviation, after the same clipping."""


class Teachers:
    """Networks in evaluation mode that see the learner's patches, each scaled as it was trained.

    Raises:
        RequestError: naming the model that cannot teach this, and why.

    """

    def __init__(self, training: Training, normalization: Normalization, base: Path) -> None:
        self._normalization = normalization
        self._models = [load_model(_found(name, base)) for name in training.teacher.models]
        for model in self._models:
            _check(model.card, training, normalization)

    def to(self, device: torch.device) -> None:
        """Move the networks to a device."""
        for model in self._models:
            model.network.to(device)

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        """Return the mean of their probabilities of images, each at its temperature: `(n, classes, h, w)`, float32."""
        scores = ((model, model.network(self._rescaled(image, model)).float()) for model in self._models)
        return torch.stack([(each / model.card.divisor).softmax(1) for model, each in scores]).mean(0)

    def _rescaled(self, image: Tensor, model: Model) -> Tensor:
        """An image as the teacher wants its values; 0, where nothing was observed, stays about its mean."""
        own, its = self._normalization, model.card.normalization
        if own == its:
            return image
        slices = image.shape[1] // len(own.mean)
        (mean, std), (its_mean, its_std) = (_numbers(each, slices, image) for each in (own, its))
        return (image * std + mean - its_mean) / its_std


def _numbers(normalization: Normalization, slices: int, like: Tensor) -> tuple[Tensor, Tensor]:
    mean, std = (like.new_tensor(numbers) for numbers in (normalization.mean, normalization.std))
    return mean.repeat_interleave(slices).view(1, -1, 1, 1), std.repeat_interleave(slices).view(1, -1, 1, 1)


def _found(name: str, base: Path) -> str | Path:
    return base / name if name not in names() and (base / name).exists() else name


def _check(card: Card, training: Training, normalization: Normalization) -> None:
    own, its = normalization, card.normalization
    scaled = own == its or (own.kind == its.kind and own.kind in _SIMPLE and (own.low, own.high) == (its.low, its.high))
    found = {
        "the kind": (card.kind, training.kind),
        "the class table": ([entry.name for entry in card.classes], [entry.name for entry in training.classes]),
        "the number of channels": (len(card.channels), len(training.channels)),
        "the margin": (card.margin, training.samples.margin),
        "the spacing": (card.spacing, training.samples.spacing),
        "the zoom": (card.zoom or 1.0, training.samples.zoom or 1.0),
        "the kind of values": (card.values, training.samples.values),
        "the normalization": (its, own) if not scaled else (None, None),
    }
    for what, (there, here) in found.items():
        if there != here:
            raise RequestError(f"teacher.models: {card.name} cannot teach this: {what} there is {there}, here {here}")
