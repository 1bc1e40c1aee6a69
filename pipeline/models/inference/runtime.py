"""Build a model for inference: folded, in its precision and memory layout, on its device."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor

from pipeline.models.card import Card
from pipeline.models.inference.cuda_graph import CudaGraphNetwork
from pipeline.models.inference.numerics import REFERENCE, Numerics
from pipeline.models.networks.folded import FoldedPSPNet
from pipeline.models.store import Model

Network = Callable[[Tensor], Tensor]
"""Image `(n, in_channels, h, w)`, float32, to scores `(n, classes, h, w)`, float32, on the same device."""


@dataclass(frozen=True)
class InferenceModel:
    """A model built for inference: card, numerics and a callable network."""

    card: Card
    numerics: Numerics
    network: Network
    """May be called from many threads at once on a CPU."""


def build_inference_model(model: Model, numerics: Numerics = REFERENCE, callers: int | None = None) -> InferenceModel:
    """Build a model for inference; the network of `model` itself stays as it is.

    Args:
        model: the model as it was loaded.
        numerics: device, precision and runtime.
        callers: concurrent calls on a CPU; None: one per core.

    Raises:
        ModelError: if the model has no form of this precision.

    """
    if numerics.runtime == "openvino":
        from pipeline.models.inference.openvino import build_openvino  # an extra, which may be missing

        return InferenceModel(model.card, numerics, build_openvino(model, numerics, callers or os.cpu_count() or 1))
    return InferenceModel(model.card, numerics, _torch(model, numerics))


def _torch(model: Model, numerics: Numerics) -> Network:
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[numerics.precision]
    folded = FoldedPSPNet(model.network).to(numerics.device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    cast = _Cast(folded, dtype)
    if not numerics.on_cpu:
        _settle_cudnn()
    if numerics.runtime == "compiled":
        return _Compiled(cast)
    return cast if numerics.on_cpu else CudaGraphNetwork(cast)


def _settle_cudnn() -> None:
    """The same kernels in every run, and float32 that is not shortened to TF32."""
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


@dataclass(frozen=True)
class _Cast:
    """A network in numbers of its own: channels last, for bfloat16 is slower than float32 in any other layout."""

    network: FoldedPSPNet
    dtype: torch.dtype

    def __call__(self, image: Tensor) -> Tensor:
        return self.network(image.to(self.dtype, memory_format=torch.channels_last))  # type: ignore[no-any-return]


class _Compiled:
    """A network in kernels made for each shape of its input, by the first call that brings it."""

    def __init__(self, network: _Cast) -> None:
        self._plain = network
        self._compiled = torch.compile(network.network, dynamic=False, options={"freezing": True})
        self._shapes: set[torch.Size] = set()
        self._lock = Lock()

    def __call__(self, image: Tensor) -> Tensor:
        if image.shape not in self._shapes:
            with self._lock:
                self._plain(image)  # fills the basis, which is a constant to the compiler
                self._compute(image)
                self._shapes.add(image.shape)
        return self._compute(image)

    def _compute(self, image: Tensor) -> Tensor:
        return self._compiled(image.to(self._plain.dtype, memory_format=torch.channels_last))  # type: ignore[no-any-return]
