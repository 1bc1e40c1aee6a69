"""Read the architecture off the names and shapes of weights. Nothing is refused here: the nearest network is named."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from pipeline.models.networks.efficientnet_lite import LITES, layer_plans
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.networks.resnet import BASIC, BLOCKS
from pipeline.models.spec import Backbone, OutputStride, PSPNetSpec, Stem

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes by our names."""
_STRIDES: tuple[OutputStride, ...] = (8, 16, 32)
_RESNETS: tuple[Backbone, ...] = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


@dataclass(frozen=True)
class Trunk:
    """A backbone as its weights show it."""

    backbone: Backbone
    stem: Stem
    in_channels: int
    first: str
    """Name of the first convolution's weight, `(filters, in_channels, h, w)`."""


@dataclass(frozen=True)
class Top:
    """Pyramid and head as their weights show them."""

    ppm_channels: int
    head_channels: int
    classes: int
    is_smp: bool


def read_trunk(shapes: Shapes) -> Trunk:
    """The backbone that is most like that of `shapes`."""
    if "layer1.0.conv.0.0.weight" in shapes:
        return Trunk(_inverted(shapes), "torchvision", _side(shapes, "stem.0.weight", 1), "stem.0.weight")
    if "layer1.1.weight" in shapes:
        return Trunk("vgg16_bn", "torchvision", _side(shapes, "layer1.1.weight", 1), "layer1.1.weight")
    return Trunk(_resnet(shapes), _stem(shapes), _side(shapes, "stem.0.weight", 1), "stem.0.weight")


def read_top(shapes: Shapes) -> Top:
    """Pyramid and head of `shapes`."""
    return Top(
        _side(shapes, "ppm.0.1.weight", 0),
        _side(shapes, "head.0.weight", 0),
        _side(shapes, "head.4.weight", 0),
        "ppm.0.1.bias" in shapes,
    )


def truncation_strides(spec: PSPNetSpec, shapes: Shapes) -> tuple[OutputStride, ...]:
    """Output strides at which a truncated backbone has as many features as the pyramid of `shapes` reads."""
    known = _STRIDES[:2] if spec.backbone == "vgg16_bn" else _STRIDES
    expected = {s: shapes_of(replace(spec, output_stride=s, truncated=True))["ppm.0.1.weight"] for s in known}
    return tuple(stride for stride, shape in expected.items() if shape[1] == _side(shapes, "ppm.0.1.weight", 1))


def shapes_of(spec: PSPNetSpec) -> dict[str, tuple[int, ...]]:
    """Shapes of all weights of the network of `spec`, without its auxiliary head and counters."""
    with torch.device("meta"):
        state = PSPNet(replace(spec, auxiliary=False)).state_dict()
    return {name: tuple(x.shape) for name, x in state.items() if not name.endswith("num_batches_tracked")}


def _inverted(shapes: Shapes) -> Backbone:
    """MobileNetV2, or the EfficientNet-Lite that is most alike in blocks and channels of the layers that are there."""
    if _side(shapes, "layer3.0.conv.1.0.weight", 3) == 3:
        return "mobilenet_v2"
    found = _blocks(shapes, 7)
    channels = [_side(shapes, f"layer{layer}.0.conv.{1 if layer == 1 else 2}.weight", 0) for layer in range(1, 8)]

    def distance(name: Backbone) -> int:
        there = zip(found, channels, layer_plans(name), strict=True)
        return sum(abs(plan.blocks - count) + abs(plan.channels - width) for count, width, plan in there if count)

    return min(LITES, key=distance)


def _blocks(shapes: Shapes, layers: int) -> list[int]:
    """Blocks of each layer; 0 for one that is not there."""
    found = [0] * layers
    for name in shapes:
        if place := re.match(r"layer([1-7])\.(\d{1,3})\.", name):
            layer, block = int(place[1]) - 1, int(place[2])
            if layer < layers:
                found[layer] = max(found[layer], block + 1)
    return found


def _resnet(shapes: Shapes) -> Backbone:
    """By the blocks of the layers that are there; the smallest of those that are alike so far."""
    found = _blocks(shapes, 4)
    basic = "layer1.0.conv3.weight" not in shapes

    def distance(name: Backbone) -> int:
        return sum(abs(here - there) for here, there in zip(found, BLOCKS[name], strict=True) if here)

    return min((name for name in _RESNETS if (name in BASIC) == basic), key=distance)


def _stem(shapes: Shapes) -> Stem:
    if "stem.3.weight" not in shapes:
        return "torchvision"
    return "semseg" if _side(shapes, "layer1.0.conv1.weight", 1) == 128 else "v1c"


def _side(shapes: Shapes, name: str, axis: int) -> int:
    """Length of an axis of a convolution's weight; 1 where there is none, which no check lets pass."""
    shape = shapes.get(name, ())
    return max(1, shape[axis]) if len(shape) == 4 else 1
