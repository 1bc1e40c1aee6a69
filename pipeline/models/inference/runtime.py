"""Build a model for inference: folded, in its precision and memory layout, on its device."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.models.card import Card
from pipeline.models.inference.cuda_graph import CudaGraphNetwork
from pipeline.models.inference.halves import Halves
from pipeline.models.inference.numerics import REFERENCE, Numerics
from pipeline.models.inference.onednn import can_fuse, fuse
from pipeline.models.networks.folded import FoldedPSPNet, resized
from pipeline.models.networks.patch_head import PatchHead
from pipeline.models.store import Model, ONNXModel

Network = Callable[[Tensor], Tensor]
"""Image `(n, in_channels, h, w)`, float32, to scores `(n, classes, h, w)`, float32, on the same device."""
Parts = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Image to features and the direct part of the head."""


@dataclass(frozen=True)
class InferenceModel:
    """A model built for inference: card, numerics and a callable network."""

    card: Card
    numerics: Numerics
    network: Network
    """May be called from many threads at once on a CPU."""
    halves: Halves | None = None
    """The same network in two halves; None where its runtime has none."""


def build_inference_model(
    model: Model | ONNXModel, numerics: Numerics = REFERENCE, callers: int | None = None
) -> InferenceModel:
    """Build a model for inference; the network of `model` itself stays as it is.

    A network in an ONNX file is computed by ONNX Runtime, in the numbers that it was exported in.

    Args:
        model: the model as it was loaded.
        numerics: device, precision and runtime.
        callers: concurrent calls on a CPU; None: one per core.

    Raises:
        ModelError: if the model has no form of this precision.

    """
    if isinstance(model, ONNXModel):
        from pipeline.models.exchange.network import build_onnx  # an extra, which may be missing

        return InferenceModel(model.card, numerics, build_onnx(model, numerics.device))
    if numerics.runtime == "openvino":
        from pipeline.models.inference.openvino import build_openvino  # an extra, which may be missing

        return InferenceModel(model.card, numerics, *build_openvino(model, numerics, callers or os.cpu_count() or 1))
    return _torch(model, numerics)


def _torch(model: Model, numerics: Numerics) -> InferenceModel:
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[numerics.precision]
    folded = FoldedPSPNet(model.network).to(numerics.device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    cast = _Cast(folded, dtype)
    kind = torch.device(numerics.device).type
    if numerics.fused and numerics.on_cpu and can_fuse():
        fuse(folded)
    if kind == "cuda":
        _settle_cudnn()
    if kind == "mps":
        return InferenceModel(model.card, numerics, *_without_pooling(cast))
    if numerics.runtime == "compiled":
        network: Network = _Compiled(folded, cast.prepared)
        trunk: Parts = _Compiled(_TrunkModule(folded), cast.prepared)
    else:
        network, trunk = cast if numerics.on_cpu else CudaGraphNetwork(cast), cast.trunk
    return InferenceModel(model.card, numerics, network, _halves(trunk, PatchHead(folded), folded.align_corners))


def _halves(trunk: Parts, head: PatchHead, align_corners: bool) -> Halves:
    """Return the halves of a network whose trunk gives tensors of their own."""
    return Halves(lambda image: nullcontext(trunk(image)), head, align_corners)


def _without_pooling(cast: _Cast) -> tuple[Network, Halves]:
    """Return a network and its halves for a Metal GPU, which cannot pool features to bins that do not divide them."""
    head, align_corners = PatchHead(cast.network), cast.network.align_corners

    def network(image: Tensor) -> Tensor:
        return resized(head(*cast.trunk(image)), image, align_corners=align_corners)

    return network, _halves(cast.trunk, head, align_corners)


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
        return self.network(self.prepared(image))  # type: ignore[no-any-return]

    def trunk(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.trunk(self.prepared(image))

    def prepared(self, image: Tensor) -> Tensor:
        return image.to(self.dtype, memory_format=torch.channels_last)


class _TrunkModule(nn.Module):
    """The trunk of a folded network, as a module of its own."""

    def __init__(self, network: FoldedPSPNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.trunk(image)


class _Compiled:
    """A module in kernels made for each shape of its input, by the first call that brings it."""

    def __init__(self, module: nn.Module, prepared: Callable[[Tensor], Tensor]) -> None:
        self._module, self._prepared = module, prepared
        self._compiled = torch.compile(module, dynamic=False, options={"freezing": True})
        self._shapes: set[torch.Size] = set()
        self._lock = Lock()

    def __call__(self, image: Tensor) -> Any:  # noqa: ANN401  (a tensor, or two)
        prepared = self._prepared(image)
        if image.shape not in self._shapes:
            with self._lock:
                self._module(prepared)  # fills the basis, which is a constant to the compiler
                self._compiled(prepared)
                self._shapes.add(image.shape)
        return self._compiled(prepared)
