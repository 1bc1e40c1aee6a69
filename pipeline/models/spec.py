"""What a PSPNet is: every choice that its weights alone cannot tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Depth = Literal[18, 50]
OutputStride = Literal[8, 16, 32]
Dilation = Literal["contracted", "full"]
BasicDilation = Literal["conv1", "both"]
Stem = Literal["torchvision", "deep"]


@dataclass(frozen=True)
class PSPNetSpec:
    """The architecture of one PSPNet (Zhao et al. 2017, arXiv:1612.01105).

    Depth, stem and channel counts can be read from the shapes of the weights; `output_stride`, `dilation`,
    `basic_dilation` and `align_corners` cannot: weights load without an error under a wrong one, and predict wrongly.
    """

    depth: Depth
    """Layers of the ResNet backbone: 18 has basic blocks, 50 has bottlenecks."""
    in_channels: int
    """Channels of the input; for volumes, image channels times slices seen."""
    classes: int
    """Score planes of the output."""
    output_stride: OutputStride = 8
    """Input pixels per feature pixel after layer4; below 32, strides are replaced by dilation."""
    dilation: Dilation = "contracted"
    """Dilation of the first block of a dilated layer: "contracted" (mmseg, torchvision, timm) has the layer before's,
    "full" (semseg, the original) the layer's own."""
    basic_dilation: BasicDilation = "conv1"
    """Which convolution of a basic block (depth 18) is dilated: the first only, as in mmseg, or both."""
    align_corners: bool = False
    """Grid of the bilinear resizes: True as in semseg, False as in mmseg."""
    stem: Stem = "torchvision"
    """First layers: one 7x7 convolution, or "deep", three 3x3 convolutions."""
    stem_channels: tuple[int, ...] = (64,)
    """Output channels of each convolution of the stem, for example (32, 32, 64) or (64, 64, 128) for "deep"."""
    bins: tuple[int, ...] = (1, 2, 3, 6)
    """Side of each level of the pyramid pooling, in the order in which they are concatenated."""
    ppm_channels: int = 128
    """Channels of each pooled level after its 1x1 convolution: 128 for depth 18, 512 for depth 50."""
    head_channels: int = 128
    """Channels between the two convolutions of the head."""
    auxiliary: bool = False
    """Whether there is a second head on layer3, used in training only."""

    def __post_init__(self) -> None:
        convolutions = {"torchvision": 1, "deep": 3}[self.stem]
        if len(self.stem_channels) != convolutions:
            raise ValueError(f"the {self.stem} stem has {convolutions} convolutions, got channels {self.stem_channels}")
        if min(self.in_channels, self.classes, self.ppm_channels, self.head_channels, *self.stem_channels) < 1:
            raise ValueError(f"every channel count must be at least 1: {self}")
        if not self.bins or min(self.bins) < 1:
            raise ValueError(f"bins must be at least 1 each, got {self.bins}")
