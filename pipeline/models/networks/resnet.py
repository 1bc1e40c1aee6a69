"""Dilated ResNet layers (He et al. 2016, arXiv:1512.03385; dilation as in section 3.1 of arXiv:1612.01105).

The stride of a bottleneck lies on its 3x3 convolution, as in torchvision, mmseg and semseg.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, nn

from pipeline.models.networks.backbone import Backbone, undilated
from pipeline.models.spec import PSPNetSpec


class Plan(NamedTuple):
    """How one of the four layers is built."""

    channels: int
    """Width inside a block; a bottleneck puts out four times as many."""
    blocks: int
    stride: int
    """Stride of the first block."""
    first_dilation: int
    """Dilation of the first block."""
    dilation: int
    """Dilation of the other blocks."""


BLOCKS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}
"""Blocks of each layer."""
BASIC = ("resnet18", "resnet34")
"""Backbones of basic blocks; the others have bottlenecks."""
STEMS = {"torchvision": (64,), "v1c": (32, 32, 64), "semseg": (64, 64, 128)}
"""Output channels of each convolution of a stem."""
_TAP = 2


def layer_plans(spec: PSPNetSpec) -> tuple[Plan, ...]:
    """Plans of layer1 to layer4: widths 64 to 512, strides 1, 2, 2, 2 traded for dilation above the output stride."""
    plans, reached, dilation = [], 4, 1
    for index, blocks in enumerate(BLOCKS[spec.backbone]):
        stride, before = (1 if index == 0 else 2), dilation
        if reached * stride > undilated(spec):
            stride, dilation = 1, dilation * stride
        reached *= stride
        plans.append(Plan(64 << index, blocks, stride, dilation if spec.dilation == "full" else before, dilation))
    return tuple(plans)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut: `(n, inputs, h, w)` to `(n, channels, h / stride, w / stride)`."""

    expansion = 1

    def __init__(self, inputs: int, channels: int, stride: int, first: int, second: int) -> None:
        """Take the dilation of the `first` and of the `second` convolution."""
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, first, first, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, second, second, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Features after both convolutions plus the shortcut."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolution with a shortcut: `(n, inputs, h, w)` to `(n, 4 channels, h / stride, w / stride)`."""

    expansion = 4

    def __init__(self, inputs: int, channels: int, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = channels * self.expansion
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Features after the three convolutions plus the shortcut."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)  # type: ignore[no-any-return]


def make_resnet(spec: PSPNetSpec) -> Backbone:
    """Build the stem, of stride 4, and layer1 to layer4."""
    widths = STEMS[spec.stem]
    inputs, reached, layers, outputs, strides = widths[-1], 4, [], [], []
    for plan in layer_plans(spec):
        layer, inputs = _layer(spec, plan, inputs)
        reached *= plan.stride
        layers.append(layer)
        outputs.append(inputs)
        strides.append(reached)
    return Backbone(_stem(spec.in_channels, widths), tuple(layers), tuple(outputs), tuple(strides), _TAP)


def _stem(channels: int, widths: tuple[int, ...]) -> nn.Sequential:
    kernel = 7 if len(widths) == 1 else 3
    modules: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(pairwise((channels, *widths))):
        modules.append(nn.Conv2d(inputs, outputs, kernel, 2 if index == 0 else 1, kernel // 2, bias=False))
        modules += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*modules, nn.MaxPool2d(3, 2, 1))


def _layer(spec: PSPNetSpec, plan: Plan, inputs: int) -> tuple[nn.Sequential, int]:
    blocks: list[nn.Module] = []
    for index in range(plan.blocks):
        stride, dilation = (plan.stride, plan.first_dilation) if index == 0 else (1, plan.dilation)
        if spec.backbone in BASIC:
            second = {"conv1": 1, "both": dilation, "timm": plan.dilation}[spec.basic_dilation]
            blocks.append(BasicBlock(inputs, plan.channels, stride, dilation, second))
            inputs = plan.channels * BasicBlock.expansion
        else:
            blocks.append(Bottleneck(inputs, plan.channels, stride, dilation))
            inputs = plan.channels * Bottleneck.expansion
    return nn.Sequential(*blocks), inputs


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
