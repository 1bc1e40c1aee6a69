"""The engine's arrays on a device of torch: blending and decision stay where the scores are."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.engine.arrays import sum_of_squares


@dataclass(frozen=True)
class TensorArrays:
    """Tensors of one device, with the sums and labels that NumPy would give, byte for byte."""

    device: torch.device
    at_once: int = sys.maxsize

    def empty(self, shape: tuple[int, ...]) -> Tensor:
        """Room for float32 values."""
        return torch.empty(shape, dtype=torch.float32, device=self.device)

    def zeros(self, shape: tuple[int, ...]) -> Tensor:
        """Zeros that share one value."""
        return torch.zeros((), device=self.device).expand(shape)

    def to_device(self, weights: NDArray[np.float32]) -> Tensor:
        """Weights of a patch on the device; those of recent patches are kept there."""
        return _sent(weights.tobytes(), weights.shape, self.device)

    def multiply(self, scores: Tensor, weights: Tensor, out: Tensor) -> None:
        """The product of both, into `out`."""
        torch.mul(scores, weights, out=out)

    def argmax(self, scores: Tensor, out: NDArray[Any]) -> None:
        """Index of the highest of `scores` into `out`, the lowest of equal ones: labels alone leave the device."""
        labels = scores.argmax(0)
        out[...] = labels.to(torch.uint8 if out.dtype == np.uint8 else torch.int32).cpu().numpy()

    def with_squares(self, scores: Tensor) -> Tensor:
        """A copy with one plane more."""
        return torch.cat([scores, sum_of_squares(scores.unbind(1))[:, None]], 1)

    def finite(self, scores: Tensor) -> bool:
        """Whether all are finite."""
        return bool(scores.sum().isfinite() or scores.isfinite().all())  # a Metal GPU has no float64

    def copy(self, scores: Tensor) -> Tensor:
        """A copy of the scores."""
        return scores.clone()

    def to_numpy(self, scores: Tensor) -> NDArray[np.float32]:
        """The scores on the host."""
        return scores.cpu().numpy()


@lru_cache(maxsize=16)
def _sent(weights: bytes, shape: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.frombuffer(bytearray(weights), dtype=torch.float32).view(shape).to(device)
