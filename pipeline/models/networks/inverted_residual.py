"""Backbones of inverted residual blocks (Sandler et al. 2018, arXiv:1801.04381): MobileNetV2 and EfficientNet-Lite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.networks.backbone import Backbone, undilated
from pipeline.models.spec import PSPNetSpec

STEM = 32
"""Output channels of the stem."""
TAP = 4
"""The fifth layer, the last one of stride 16."""


class Plan(NamedTuple):
    """How one of the seven layers is built."""

    expansion: int
    """Channels inside a block per channel that comes in."""
    channels: int
    blocks: int
    stride: int
    """Stride of the first block."""
    kernel: int = 3
    """Side of the depthwise convolutions."""


class Convention(NamedTuple):
    """What two frameworks do differently, and weights do not show."""

    same: bool
    """Whether strided convolutions have TensorFlow's padding "SAME", or else `kernel // 2` on each side."""
    eps: float
    """Added to the variance in batch norms."""


TORCH = Convention(same=False, eps=1e-5)
TENSORFLOW = Convention(same=True, eps=1e-3)
"""With the eps of Google's EfficientNets."""

Dilations = Callable[[int, int], tuple[int, int]]
"""From the dilation of the layer before and that of a layer: those of its first block and of its other blocks."""


class SameConv2d(nn.Conv2d):
    """A convolution with the padding "SAME": `(n, inputs, h, w)` to `(n, outputs, ceil(h / stride), ceil(w / stride))`.

    The padding depends on the size of the input; an odd number of zeros has the extra one below and to the right.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Features of the padded input."""
        top, bottom = self._zeros(x, 0)
        left, right = self._zeros(x, 1)
        return super().forward(functional.pad(x, [left, right, top, bottom]))

    def _zeros(self, x: Tensor, axis: int) -> tuple[int, int]:
        size, stride = int(x.shape[2 + axis]), self.stride[axis]
        reach = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
        zeros = max(0, (-(-size // stride) - 1) * stride + reach - size)
        return zeros // 2, zeros - zeros // 2


class InvertedResidual(nn.Module):
    """1x1 to more channels, depthwise, 1x1 to few: `(n, inputs, h, w)` to `(n, outputs, h / stride, w / stride)`.

    Without the first where the plan's expansion is 1; with a shortcut where the shape stays.
    """

    def __init__(self, inputs: int, plan: Plan, stride: int, dilation: int, convention: Convention) -> None:
        super().__init__()
        wide = inputs * plan.expansion
        first = [] if plan.expansion == 1 else [convolution(inputs, wide, 1, convention)]
        self.conv = nn.Sequential(
            *first,
            convolution(wide, wide, plan.kernel, convention, stride=stride, dilation=dilation, groups=wide),
            nn.Conv2d(wide, plan.channels, 1, bias=False),
            nn.BatchNorm2d(plan.channels, convention.eps),
        )
        self.shortcut = stride == 1 and inputs == plan.channels

    def forward(self, x: Tensor) -> Tensor:
        """Features after the three convolutions, plus the input where there is a shortcut."""
        y: Tensor = self.conv(x)
        return x + y if self.shortcut else y


def make_backbone(spec: PSPNetSpec, plans: Sequence[Plan], convention: Convention, dilations: Dilations) -> Backbone:
    """Build stem and layers; strides beyond the output stride become dilation."""
    reached, dilation, inputs, layers, strides = 2, 1, STEM, [], []
    for plan in plans:
        stride, before = plan.stride, dilation
        if reached * stride > undilated(spec):
            dilation, stride = dilation * stride, 1
        reached *= stride
        layers.append(_layer(plan, inputs, stride, dilations(before, dilation), convention))
        strides.append(reached)
        inputs = plan.channels
    stem = convolution(spec.in_channels, STEM, 3, convention, stride=2)
    return Backbone(stem, tuple(layers), tuple(plan.channels for plan in plans), tuple(strides), TAP)


def convolution(
    inputs: int,
    outputs: int,
    kernel: int,
    convention: Convention,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    """Build a convolution, its batch norm and ReLU6."""
    made = (
        SameConv2d(inputs, outputs, kernel, stride, 0, dilation, groups, bias=False)
        if convention.same and stride > 1
        else nn.Conv2d(inputs, outputs, kernel, stride, dilation * (kernel // 2), dilation, groups, bias=False)
    )
    return nn.Sequential(made, nn.BatchNorm2d(outputs, convention.eps), nn.ReLU6(inplace=True))


def _layer(plan: Plan, inputs: int, stride: int, dilations: tuple[int, int], convention: Convention) -> nn.Sequential:
    first, later = dilations
    start = InvertedResidual(inputs, plan, stride, first, convention)
    rest = (InvertedResidual(plan.channels, plan, 1, later, convention) for _ in range(plan.blocks - 1))
    return nn.Sequential(start, *rest)
