"""Convolutions of a folded network in bfloat16 with what follows them, as oneDNN computes them in one pass.

Where a CPU multiplies bfloat16, convolutions are so fast that writing features, and reading them once more for an
activation or a shortcut, takes nearly as long. torch's compiler calls the same functions; here nothing is compiled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from pipeline.models.networks.decoder import Decoder
from pipeline.models.networks.folded import FoldedPSPNet
from pipeline.models.networks.inverted_residual import InvertedResidual, SameConv2d, WideDepthwise
from pipeline.models.networks.resnet import BasicBlock, Bottleneck

_ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {nn.ReLU: ("relu", []), nn.ReLU6: ("hardtanh", [0, 6])}
_NONE: tuple[str, list[float]] = ("none", [])


class FusedConv2d(nn.Module):
    """A convolution, what is added to it if anything, and an activation: rounded once, after all of them.

    Without an addition the values are those of the modules one after the other, to the last bit.
    """

    def __init__(self, convolution: nn.Conv2d, activation: nn.Module | None = None) -> None:
        """Take a convolution, and a ReLU or ReLU6."""
        super().__init__()
        self.out_channels = convolution.out_channels
        self._own = convolution if isinstance(convolution, SameConv2d | WideDepthwise) else None
        self._activation = _NONE if activation is None else _ACTIVATIONS[type(activation)]
        self._zeros = [int(zeros) for zeros in convolution.padding]
        dilation = [1, 1] if isinstance(convolution, WideDepthwise) else list(convolution.dilation)
        self._how = list(convolution.stride), dilation, convolution.groups
        self._weight = convolution.weight.detach()
        self._bias = None if convolution.bias is None else convolution.bias.detach()

    def forward(self, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Features of `x`, `(n, channels, h, w)`; `beside`, of the same shape as they, is added to them."""
        if beside is not None:
            return self._added(x, beside)
        if self._own is None:
            return self._convolved(x, self._zeros)
        if isinstance(self._own, WideDepthwise):
            return self._own.apart(x, self._convolved)
        if self._own.is_depthwise:
            return self._own.around(x, self._convolved)
        return self._convolved(self._own.padded(x), self._zeros)

    def _convolved(self, x: Tensor, zeros: list[int]) -> Tensor:
        made: Tensor = _onednn()._convolution_pointwise(
            x, self._weight, self._bias, zeros, *self._how, *self._activation, ""
        )
        return made

    def _added(self, x: Tensor, beside: Tensor) -> Tensor:
        name, numbers = self._activation
        then = (None if name == "none" else name), numbers, ""
        made: Tensor = _onednn()._convolution_pointwise.binary(
            x, beside, self._weight, self._bias, self._zeros, *self._how, "add", 1.0, *then
        )
        return made


class FusedResidual(nn.Module):
    """Convolutions one after the other, to the last of which a shortcut is added: `(n, inputs, h, w)` to features."""

    def __init__(self, path: Iterable[nn.Module], shortcut: nn.Module) -> None:
        super().__init__()
        *before, self.last = path
        self.before, self.shortcut = nn.Sequential(*before), shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Features behind the shortcut."""
        made: Tensor = self.last(self.before(x), self.shortcut(x))
        return made


def can_fuse() -> bool:
    """Return whether torch and this CPU have the functions for it."""
    return hasattr(_onednn(), "_convolution_pointwise") and bool(_onednn()._is_mkldnn_bf16_supported())


def fuse(network: FoldedPSPNet) -> None:
    """Replace, in place, all convolutions that are computed once for all patches that share their features."""
    network.backbone = nn.Sequential(*map(_fused, network.backbone))
    network.decoder = None if network.decoder is None else cast("Decoder", _fused(network.decoder))
    network.first = cast("nn.Conv2d", _fused(network.first))


def _fused(module: nn.Module) -> nn.Module:
    """Return what computes the same as a module in evaluation mode."""
    if isinstance(module, nn.Conv2d):
        return FusedConv2d(module)
    if isinstance(module, BasicBlock | Bottleneck):
        convolutions = [each for each in module.children() if isinstance(each, nn.Conv2d)]
        path = [FusedConv2d(each, module.relu) for each in convolutions]
        return FusedResidual(path, nn.Identity() if module.downsample is None else _fused(module.downsample))
    if isinstance(module, InvertedResidual):
        chain = _chain(module.conv)
        return FusedResidual(chain, nn.Identity()) if module.shortcut else nn.Sequential(*chain)
    if isinstance(module, nn.Sequential):
        return nn.Sequential(*_chain(module))
    for name, child in module.named_children():
        module.add_module(name, _fused(child))
    return module


def _chain(modules: nn.Sequential) -> list[nn.Module]:
    """Return what computes modules one after the other: each convolution with the activation behind it."""
    rest = deque(each for each in modules if not isinstance(each, nn.Identity))
    made: list[nn.Module] = []
    while rest:
        module = rest.popleft()
        if isinstance(module, nn.Conv2d):
            activation = rest.popleft() if rest and type(rest[0]) in _ACTIVATIONS else None
            made.append(FusedConv2d(module, activation))
        else:
            made += _chain(module) if isinstance(module, nn.Sequential) else [_fused(module)]
    return made


def _onednn() -> Any:  # noqa: ANN401  (torch does not declare its types)
    return torch.ops.mkldnn
