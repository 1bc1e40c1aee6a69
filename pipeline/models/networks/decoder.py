"""What gives a PSPNet sharp borders: a path back to a stride of 4 or 2, past what the backbone made on its way.

It is the second half of a U-Net (Ronneberger et al. 2015, arXiv:1505.04597), narrow, whose scores are added to those of
the pyramid. It reads no pooled level, so it is a convolution like the backbone: patches that overlap can share it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Decoder(nn.Module):
    """Features `(n, inputs, h, w)`, and earlier ones for each stage, to scores at the stride of the last."""

    def __init__(self, inputs: int, passed: Sequence[int], channels: Sequence[int], classes: int) -> None:
        """Build stages of `channels`, where `passed` are the channels of the earlier features."""
        super().__init__()
        self.reduce = _stage(inputs, channels[0], 1)
        befores = (channels[0], *channels)
        self.stages = nn.ModuleList(
            _stage(before + skip, own, 3) for before, skip, own in zip(befores, passed, channels, strict=False)
        )
        self.last = nn.Conv2d(channels[-1], classes, 1)
        nn.init.zeros_(self.last.weight)  # so that a network that was trained without it starts as it was

    def forward(self, features: Tensor, passed: Sequence[Tensor]) -> Tensor:
        """Scores, of the size of the last of the earlier features."""
        x = self.reduce(features)
        for stage, skip in zip(self.stages, passed, strict=True):
            x = stage(torch.cat([enlarged(x, skip), skip], 1))
        scores: Tensor = self.last(x)
        return scores


def enlarged(x: Tensor, like: Tensor) -> Tensor:
    """Return `x` in the height and width of `like`, bilinearly, each cell in the middle of its part.

    Where that is a whole number of times its own, no size becomes part of a graph that is traced.
    """
    (height, width), size = x.shape[2:], (int(like.shape[2]), int(like.shape[3]))
    times = size[0] // height
    if times == 1 and size == (height, width):
        return x
    if size == (times * height, times * width):
        return functional.interpolate(x, scale_factor=float(times), mode="bilinear")
    return functional.interpolate(x, size, mode="bilinear")


def _stage(inputs: int, channels: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, channels, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
