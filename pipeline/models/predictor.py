"""PSPNet behind the engine's `Predictor`: native pixels in, native scores out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.errors import ModelError
from pipeline.models.card import Card, Pair
from pipeline.models.store import Model

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Scaling:
    """Numbers that scale the values of one input: clipped to `low..high`, then `(value - mean) / std`."""

    mean: tuple[float, ...]
    """One per channel."""
    std: tuple[float, ...]
    """One per channel, above 0."""
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, card: Card, mean: tuple[float, ...] = (), std: tuple[float, ...] = ()) -> Scaling:
        """The card's own numbers; for kind "zscore", the given mean and std of the volume's channels."""
        rule = card.normalisation
        if rule.kind != "zscore":
            return cls(rule.mean, rule.std, rule.low, rule.high)
        if not len(mean) == len(std) == len(card.channels):
            raise ModelError(
                f"model {card.name} is normalised per volume: it needs the mean and std of each of its "
                f"{len(card.channels)} channels, got {mean} and {std}"
            )
        return cls(mean, tuple(value if value > 0 else 1.0 for value in std))

    def __call__(self, values: NDArray[Any], valid: NDArray[np.bool_] | None) -> Floats:
        """Values `(n, channels, *seen)` scaled, as float32; 0 where not finite, or not `valid` `(n, *seen)`."""
        with np.errstate(over="ignore"):
            scaled = values.astype(np.float32)
        unseen = ~np.isfinite(scaled)
        if valid is not None:
            unseen |= ~valid[:, None]
        scaled[unseen] = 0
        if self.low is not None:
            np.clip(scaled, self.low, self.high, out=scaled)
        by_channel = (-1, *(1,) * (values.ndim - 2))
        scaled -= np.asarray(self.mean, np.float32).reshape(by_channel)
        scaled /= np.asarray(self.std, np.float32).reshape(by_channel)
        scaled[unseen] = 0
        return scaled


def native_patch(card: Card, native_spacing: tuple[float, float] | None) -> tuple[Pair, Pair]:
    """Patch and overlap of `card` as (height, width) in pixels of an input of `native_spacing` (height, width).

    The card's own where it has no spacing, where the input's is unknown, or where both agree to 1 %.
    """
    if not _resamples(card, native_spacing):
        return card.patch, card.overlap
    zoom = [model / native for model, native in zip(card.spacing or (), native_spacing or (), strict=True)]
    patch = _rounded(card.patch, zoom, least=1)
    overlap = _rounded(card.overlap, zoom, least=0)
    return patch, (min(overlap[0], patch[0] - 1), min(overlap[1], patch[1] - 1))


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
        self._side = model.card.patch if _resamples(model.card, native_spacing) else None

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
        size = list(image.shape[-2:])
        image = image.to(self._device)
        scores = self._network(image if self._side is None else _resized(image, list(self._side)))
        scores = scores if self._side is None else _resized(scores, size)
        scores = scores.softmax(1) if self.card.averaging == "softmax" else scores
        return scores.cpu().numpy()


def _resamples(card: Card, native_spacing: tuple[float, float] | None) -> bool:
    if card.spacing is None or native_spacing is None:
        return False
    return any(abs(native / model - 1) > 0.01 for model, native in zip(card.spacing, native_spacing, strict=True))


def _rounded(lengths: Pair, zoom: list[float], least: int) -> Pair:
    height, width = (max(least, round(length * factor)) for length, factor in zip(lengths, zoom, strict=True))
    return height, width


def _resized(x: Tensor, size: list[int]) -> Tensor:
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
