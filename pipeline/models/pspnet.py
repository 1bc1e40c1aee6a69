"""PSPNet: a dilated ResNet, pyramid pooling and a head (Zhao et al. 2017, arXiv:1612.01105)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.resnet import make_layers, make_stem
from pipeline.models.spec import PSPNetSpec


class PSPNet(nn.Module):
    """The network of a `PSPNetSpec`: image `(n, in_channels, h, w)` to class scores `(n, classes, h, w)`.

    Modules, and so names of weights: `stem`, `layer1` to `layer4`, `ppm`, `head` and, if the spec has it, `aux`.
    """

    def __init__(self, spec: PSPNetSpec) -> None:
        super().__init__()
        self.spec = spec
        self.stem = make_stem(spec)
        (self.layer1, self.layer2, self.layer3, self.layer4), outputs = make_layers(spec)
        self.ppm = nn.ModuleList(_level(side, outputs[3], spec.ppm_channels) for side in spec.bins)
        self.head = _head(outputs[3] + len(spec.bins) * spec.ppm_channels, spec.head_channels, spec.classes)
        self.aux = _head(outputs[2], outputs[2] // 4, spec.classes) if spec.auxiliary else None

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Scores before softmax, at the size of the image; in training with `aux` also those of the second head."""
        size = image.shape[2:]
        middle = self.layer3(self.layer2(self.layer1(self.stem(image))))
        scores = self._resize(self.head(self._pool_pyramid(self.layer4(middle))), size)
        if self.aux is None or not self.training:
            return scores
        return scores, self._resize(self.aux(middle), size)

    def _pool_pyramid(self, features: Tensor) -> Tensor:
        """Features beside their pooled levels, resized (section 3.2): `c` to `c + len(bins) ppm_channels` channels."""
        levels = [self._resize(level(features), features.shape[2:]) for level in self.ppm]
        return torch.cat([features, *levels], dim=1)

    def _resize(self, x: Tensor, size: tuple[int, ...]) -> Tensor:
        return functional.interpolate(x, list(size), mode="bilinear", align_corners=self.spec.align_corners)


def _level(side: int, inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 1, bias=False)
    return nn.Sequential(nn.AdaptiveAvgPool2d(side), convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _head(inputs: int, hidden: int, classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, 3, padding=1, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(inplace=True),
        nn.Dropout2d(0.1),
        nn.Conv2d(hidden, classes, 1),
    )
