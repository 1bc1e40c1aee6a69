"""VGG16 with batch norm as a backbone (Simonyan and Zisserman 2015, arXiv:1409.1556).

No paper defines a dilated one. Here the fifth pooling is always left out; at output stride 8 the fourth is too, and
the convolutions behind it are dilated by 2.
"""

from __future__ import annotations

from torch import nn

from pipeline.models.networks.backbone import Backbone, undilated
from pipeline.models.spec import PSPNetSpec

CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Convolutions of each layer."""
CHANNELS = (64, 128, 256, 512, 512)
_TAP = 3


def make_vgg(spec: PSPNetSpec) -> Backbone:
    """Build the five layers: each a pooling, except the first, and convolutions with batch norm."""
    reached, inputs, layers, strides = 1, spec.in_channels, [], []
    for index, (count, channels) in enumerate(zip(CONVOLUTIONS, CHANNELS, strict=True)):
        pooled = index > 0 and 2 * reached <= undilated(spec)
        reached *= 2 if pooled else 1
        dilation = 2 if index > 0 and not pooled else 1
        layers.append(_layer(inputs, channels, count, dilation, pooled=pooled))
        strides.append(reached)
        inputs = channels
    return Backbone(nn.Identity(), tuple(layers), CHANNELS, tuple(strides), _TAP)


def _layer(inputs: int, channels: int, count: int, dilation: int, *, pooled: bool) -> nn.Sequential:
    modules: list[nn.Module] = [nn.MaxPool2d(2) if pooled else nn.Identity()]
    for index in range(count):
        before = inputs if index == 0 else channels
        modules += [nn.Conv2d(before, channels, 3, 1, dilation, dilation), nn.BatchNorm2d(channels)]
        modules.append(nn.ReLU(inplace=True))
    return nn.Sequential(*modules)
