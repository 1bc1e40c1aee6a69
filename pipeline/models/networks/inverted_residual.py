"""Backbones of inverted residual blocks (Sandler et al. 2018, arXiv:1801.04381): MobileNetV2 and EfficientNet-Lite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.networks.backbone import Backbone, undilated
from pipeline.models.spec import PSPNetSpec

STEM = 32
"""Output channels of the stem."""
WIDEST = 4
"""Zeros on a side up to which oneDNN has fast kernels for depthwise convolutions on all CPUs."""
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
Convolve = Callable[[Tensor, list[int]], Tensor]
"""From an input and the zeros around its rows and columns to the convolution of both."""


class SameConv2d(nn.Conv2d):
    """A convolution with the padding "SAME": `(n, inputs, h, w)` to `(n, outputs, ceil(h / stride), ceil(w / stride))`.

    The padding depends on the size of the input; an odd number of zeros has the extra one below and to the right.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Features of the padded input."""
        if self.is_depthwise and _is_known(x):
            return self.around(x)
        return super().forward(self.padded(x))

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel is convolved by itself."""
        return self.groups == self.in_channels

    def padded(self, x: Tensor) -> Tensor:
        """The input with its zeros around it."""
        rows, columns = self._zeros(x, 0), self._zeros(x, 1)
        return functional.pad(x, [*columns, *rows])

    def around(self, x: Tensor, convolve: Convolve | None = None) -> Tensor:
        """The same, without a copy of the input: the convolution pads it by as many zeros on both sides.

        Where one more is needed behind than before, a stride of zeros more gives one cell more, the first, which is cut
        off. For depthwise convolutions on CPUs without AVX-512, and for those of oneDNN in bfloat16, the values are the
        same to the last bit.
        """
        zeros = self._zeros(x, 0), self._zeros(x, 1)
        more = [before != behind for before, behind in zeros]
        padding = [before + stride * m for (before, _), stride, m in zip(zeros, self.stride, more, strict=True)]
        made = (convolve or self._convolved)(x, padding)
        height, width = (-(-size // stride) for size, stride in zip(x.shape[2:], self.stride, strict=True))
        top, left = more
        return _like(x, made[..., top : top + height, left : left + width])

    def _convolved(self, x: Tensor, padding: list[int]) -> Tensor:
        return functional.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _zeros(self, x: Tensor, axis: int) -> tuple[int, int]:
        size, stride = int(x.shape[2 + axis]), self.stride[axis]
        reach = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
        zeros = max(0, (-(-size // stride) - 1) * stride + reach - size)
        return zeros // 2, zeros - zeros // 2


class WideDepthwise(nn.Conv2d):
    """A depthwise convolution of stride 1 whose taps are far apart: `(n, c, h, w)` to the same shape.

    For 5 x 5 taps at a dilation of 4, torch takes thirty times as long as it could on CPUs without AVX-512, and in
    bfloat16 on others. There, the values are the same to the last bit, for sums have the same order.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Features of the input."""
        return self.apart(x) if _is_known(x) else super().forward(x)

    def apart(self, x: Tensor, convolve: Convolve | None = None) -> Tensor:
        """The same by images of cells that lie `dilation` apart, on which it is a convolution without dilation."""
        step, (height, width) = self.dilation[0], x.shape[2:]
        below, right = -height % step, -width % step
        padded = functional.pad(x, [0, right, 0, below]) if below or right else x
        count, channels, rows, columns = len(x), x.shape[1], (height + below) // step, (width + right) // step
        split = padded.permute(0, 2, 3, 1).reshape(count, rows, step, columns, step, channels)
        parts = split.permute(2, 4, 0, 1, 3, 5).reshape(step * step * count, rows, columns, channels)
        side = self.kernel_size[0] // 2
        made = (convolve or self._undilated)(parts.permute(0, 3, 1, 2), [side, side])
        joined = made.permute(0, 2, 3, 1).reshape(step, step, count, rows, columns, channels)
        whole = joined.permute(2, 3, 0, 4, 1, 5).reshape(count, rows * step, columns * step, channels)
        return _like(x, whole.permute(0, 3, 1, 2)[..., :height, :width])

    def _undilated(self, x: Tensor, padding: list[int]) -> Tensor:
        return functional.conv2d(x, self.weight, self.bias, 1, padding, 1, self.groups)


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


def has_avx512() -> bool:
    """Whether torch's kernels for this CPU use AVX-512."""
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


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
    if convention.same and stride > 1:
        made: nn.Conv2d = SameConv2d(inputs, outputs, kernel, stride, 0, dilation, groups, bias=False)
    else:
        padding = dilation * (kernel // 2)
        kind = WideDepthwise if groups == inputs == outputs and padding > WIDEST and stride == 1 else nn.Conv2d
        made = kind(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False)
    return nn.Sequential(made, nn.BatchNorm2d(outputs, convention.eps), nn.ReLU6(inplace=True))


def _is_known(x: Tensor) -> bool:
    """Whether other ways to compute this are known to give the same bits: not where it is traced for other runtimes."""
    traced = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    return x.device.type == "cpu" and not has_avx512() and not traced


def _like(x: Tensor, made: Tensor) -> Tensor:
    """Return features in the memory format of `x`."""
    layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    return made.contiguous(memory_format=layout)


def _layer(plan: Plan, inputs: int, stride: int, dilations: tuple[int, int], convention: Convention) -> nn.Sequential:
    first, later = dilations
    start = InvertedResidual(inputs, plan, stride, first, convention)
    rest = (InvertedResidual(plan.channels, plan, 1, later, convention) for _ in range(plan.blocks - 1))
    return nn.Sequential(start, *rest)
