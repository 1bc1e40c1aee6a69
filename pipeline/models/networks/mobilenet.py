"""MobileNetV2 as a backbone (Sandler et al. 2018, arXiv:1801.04381), dilated as in mmseg, without its last layer."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from pipeline.models.networks.backbone import Backbone, undilated
from pipeline.models.spec import PSPNetSpec


class Plan(NamedTuple):
    """How one of the seven layers is built."""

    expansion: int
    """Channels inside a block per channel that comes in."""
    channels: int
    blocks: int
    stride: int
    """Stride of the first block."""


PLANS = (
    Plan(1, 16, 1, 1),
    Plan(6, 24, 2, 2),
    Plan(6, 32, 3, 2),
    Plan(6, 64, 4, 2),
    Plan(6, 96, 3, 1),
    Plan(6, 160, 3, 2),
    Plan(6, 320, 1, 1),
)
"""Table 2 of the paper."""
_STEM = 32
_TAP = 4


class InvertedResidual(nn.Module):
    """1x1 to more channels, depthwise 3x3, 1x1 to few: `(n, inputs, h, w)` to `(n, outputs, h / stride, w / stride)`.

    Without the first where `expansion` is 1; with a shortcut where the shape stays.
    """

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, dilation: int) -> None:
        super().__init__()
        wide = inputs * expansion
        first = [] if expansion == 1 else [_convolution(inputs, wide, 1)]
        self.conv = nn.Sequential(
            *first,
            _convolution(wide, wide, 3, stride=stride, dilation=dilation, groups=wide),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Features after the three convolutions, plus the input where there is a shortcut."""
        y: Tensor = self.conv(x)
        return x + y if self.shortcut else y


def make_mobilenet(spec: PSPNetSpec) -> Backbone:
    """Build stem and layers; strides beyond the output stride become dilation."""
    reached, dilation, inputs, layers, strides = 2, 1, _STEM, [], []
    for plan in PLANS:
        stride = plan.stride
        if reached * stride > undilated(spec):
            dilation, stride = dilation * stride, 1
        reached *= stride
        layers.append(_layer(plan, inputs, stride, dilation, spec))
        strides.append(reached)
        inputs = plan.channels
    stem = _convolution(spec.in_channels, _STEM, 3, stride=2)
    return Backbone(stem, tuple(layers), tuple(plan.channels for plan in PLANS), tuple(strides), _TAP)


def _layer(plan: Plan, inputs: int, stride: int, dilation: int, spec: PSPNetSpec) -> nn.Sequential:
    later = dilation if spec.dilation == "full" else 1
    first = InvertedResidual(inputs, plan.channels, plan.expansion, stride, dilation)
    others = [InvertedResidual(plan.channels, plan.channels, plan.expansion, 1, later) for _ in range(plan.blocks - 1)]
    return nn.Sequential(first, *others)


def _convolution(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )
