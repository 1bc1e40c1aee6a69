"""PSPNet: a dilated backbone, pyramid pooling and a head (Zhao et al. 2017, arXiv:1612.01105)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.networks.backbone import Backbone
from pipeline.models.networks.decoder import Decoder
from pipeline.models.networks.efficientnet_lite import LITES, make_efficientnet_lite
from pipeline.models.networks.mobilenet import make_mobilenet
from pipeline.models.networks.resnet import make_resnet
from pipeline.models.networks.vgg import make_vgg
from pipeline.models.spec import PSPNetSpec


class PSPNet(nn.Module):
    """The network of a `PSPNetSpec`: image `(n, in_channels, h, w)` to class scores `(n, classes, h, w)`.

    Modules, and so names of weights: `stem`, `layer1` and so on, `ppm`, `head` and, if the spec has them, `decoder` and
    `aux`.
    """

    def __init__(self, spec: PSPNetSpec) -> None:
        super().__init__()
        self.spec = spec
        backbone = _backbone(spec)
        self.stem = backbone.stem
        self.layers = tuple(f"layer{number}" for number in range(1, len(backbone.layers) + 1))
        for name, layer in zip(self.layers, backbone.layers, strict=True):
            self.add_module(name, layer)
        self._tap = backbone.tap
        self.skips = tuple(backbone.strides.index(stride) for stride in spec.decoder_strides)
        features = backbone.channels[-1]
        self.ppm = nn.ModuleList(_level(side, features, spec) for side in spec.bins)
        kernels = (3, 1) if spec.head == "pspnet" else (1, 3)
        self.head = _head(features + len(spec.bins) * spec.ppm_channels, spec.head_channels, kernels, spec)
        passed = [backbone.channels[skip] for skip in self.skips]
        self.decoder = Decoder(features, passed, spec.decoder_channels, spec.classes) if spec.decoder_channels else None
        tapped = backbone.channels[backbone.tap]
        self.aux = _head(tapped, _auxiliary_channels(spec, tapped), (3, 1), spec) if spec.auxiliary else None

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Scores before softmax, at the size of the image; in training with `aux` also those of the second head."""
        size = image.shape[2:]
        features, passed = self.features(image)
        scores = self.head(self._pool_pyramid(features))
        if self.decoder is not None:
            detail = self.decoder(features, [passed[skip] for skip in self.skips])
            scores = self._resize(scores, detail.shape[2:]) + detail
        scores = self._resize(scores, size)
        if self.aux is None or not self.training:
            return scores
        return scores, self._resize(self.aux(passed[self._tap]), size)

    def features(self, image: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """What the backbone makes of an image, and what layers make on the way, for the second head and the decoder."""
        x, passed = self.stem(image), {}
        for number, name in enumerate(self.layers):
            x = self.get_submodule(name)(x)
            if number in (self._tap, *self.skips):
                passed[number] = x
        return x, passed

    def _pool_pyramid(self, features: Tensor) -> Tensor:
        """Features beside their pooled levels, resized (section 3.2): `c` to `c + len(bins) ppm_channels` channels."""
        levels = [self._resize(level(features), features.shape[2:]) for level in self.ppm]
        return torch.cat([features, *levels] if self.spec.head == "pspnet" else [*levels, features], dim=1)

    def _resize(self, x: Tensor, size: tuple[int, ...]) -> Tensor:
        return functional.interpolate(x, list(size), mode="bilinear", align_corners=self.spec.align_corners)


def _backbone(spec: PSPNetSpec) -> Backbone:
    makers = {"mobilenet_v2": make_mobilenet, "vgg16_bn": make_vgg, **dict.fromkeys(LITES, make_efficientnet_lite)}
    backbone = makers.get(spec.backbone, make_resnet)(spec)
    return backbone.until(spec.output_stride) if spec.truncated else backbone


def _level(side: int, inputs: int, spec: PSPNetSpec) -> nn.Sequential:
    pool = nn.AdaptiveAvgPool2d(side)
    if spec.head == "smp" and side == 1:
        return nn.Sequential(pool, nn.Conv2d(inputs, spec.ppm_channels, 1), nn.Identity(), nn.ReLU(inplace=True))
    convolution = nn.Conv2d(inputs, spec.ppm_channels, 1, bias=False)
    return nn.Sequential(pool, convolution, nn.BatchNorm2d(spec.ppm_channels), nn.ReLU(inplace=True))


def _auxiliary_channels(spec: PSPNetSpec, tapped: int) -> int:
    """Width of the auxiliary head: a quarter of what it reads, and 256 for MobileNetV2 and the like, as in mmseg."""
    return 256 if spec.backbone == "mobilenet_v2" or spec.backbone in LITES else tapped // 4


def _head(inputs: int, hidden: int, kernels: tuple[int, int], spec: PSPNetSpec) -> nn.Sequential:
    first, last = kernels
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, first, padding=first // 2, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(inplace=True),
        nn.Dropout2d(spec.dropout),
        nn.Conv2d(hidden, spec.classes, last, padding=last // 2),
    )
