"""Names of weights, from another project's to ours and back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property

from pipeline.models.networks.efficientnet_lite import LITES, layer_plans
from pipeline.models.networks.mobilenet import PLANS
from pipeline.models.networks.vgg import CONVOLUTIONS

Rules = tuple[tuple[str, str], ...]
"""Pairs of a module's name there and here; `{}` matches a number, the same in both. The first match counts."""


@dataclass(frozen=True)
class Naming:
    """How one project names the modules of a network."""

    rules: Rules

    def knows(self, name: str) -> bool:
        """Whether a rule fits the tensor that is called `name` there."""
        return self._any.fullmatch(name.rpartition(".")[0]) is not None

    @cached_property
    def _any(self) -> re.Pattern[str]:
        return re.compile("|".join(_pattern(theirs).pattern for theirs, _ in self.rules))

    def ours(self, name: str) -> str | None:
        """Our name of a tensor that is called `name` there; None if no rule fits."""
        return _renamed(name, self.rules)

    def theirs(self, name: str) -> str | None:
        """Its name there of our tensor `name`; None if no rule fits."""
        return _renamed(name, tuple((there, here) for here, there in self.rules))


def _renamed(name: str, rules: Rules) -> str | None:
    module, _, parameter = name.rpartition(".")
    for old, new in rules:
        if found := _pattern(old).fullmatch(module):
            return f"{new.format(*found.groups())}.{parameter}"
    return None


@cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace(r"\{\}", r"(\d+)"))


def with_prefix(prefix: str, rules: Rules) -> Rules:
    """The rules of a network that is a part, `prefix`, of theirs."""
    return tuple((prefix + theirs, ours) for theirs, ours in rules)


def _same(*templates: str) -> Rules:
    return tuple((template, template) for template in templates)


_BLOCKS = _same("layer{}.{}.conv{}", "layer{}.{}.bn{}", "layer{}.{}.downsample.{}")

RESNET: Rules = (("conv1", "stem.0"), ("bn1", "stem.1"), *_BLOCKS)
"""torchvision, timm, mmseg's `ResNet`."""
RESNET_V1C: Rules = (("stem.{}", "stem.{}"), *_BLOCKS)
"""mmseg's `ResNetV1c`, and ours."""
RESNET_SEMSEG: Rules = (("layer0.{}", "stem.{}"), *_BLOCKS)
"""hszhao/semseg's PSPNet."""
RESNET_DEEP: Rules = (
    *(("conv1", "stem.0"), ("bn1", "stem.1"), ("conv2", "stem.3"), ("bn2", "stem.4"), ("conv3", "stem.6")),
    ("bn3", "stem.7"),
    *_BLOCKS,
)
"""hszhao/semseg's backbones alone (`resnet50_v2.pth`)."""


def _features_of_mobilenet() -> Rules:
    places = [(layer, block) for layer, plan in enumerate(PLANS, 1) for block in range(plan.blocks)]
    blocks = [
        (f"features.{number}.conv.{inner}", f"layer{layer}.{block}.conv.{inner}")
        for number, (layer, block) in enumerate(places, 1)
        for inner in ("{}.{}", "{}")
    ]
    return (("features.0.{}", "stem.{}"), *blocks)


def _features_of_vgg() -> Rules:
    rules, number = [], 0
    for layer, count in enumerate(CONVOLUTIONS, 1):
        for index in range(count):
            rules.append((f"features.{number}", f"layer{layer}.{1 + 3 * index}"))
            rules.append((f"features.{number + 1}", f"layer{layer}.{2 + 3 * index}"))
            number += 3
        number += 1
    return tuple(rules)


_FIRST_BLOCK = (("_depthwise_conv", "0.0"), ("_bn1", "0.1"), ("_project_conv", "1"), ("_bn2", "2"))
_OTHER_BLOCKS = (
    *(("_expand_conv", "0.0"), ("_bn0", "0.1"), ("_depthwise_conv", "1.0"), ("_bn1", "1.1")),
    *(("_project_conv", "2"), ("_bn2", "3")),
)


def _blocks_of_efficientnet(counts: tuple[int, ...]) -> Rules:
    """Of a network whose layers have so many blocks, which are numbered in one row there."""
    places = [(layer, block) for layer, count in enumerate(counts, 1) for block in range(count)]
    blocks = [
        (f"_blocks.{number}.{theirs}", f"layer{layer}.{block}.conv.{ours}")
        for number, (layer, block) in enumerate(places)
        for theirs, ours in (_FIRST_BLOCK if layer == 1 else _OTHER_BLOCKS)
    ]
    return (("_conv_stem", "stem.0"), ("_bn0", "stem.1"), *blocks)


MOBILENET: Rules = _features_of_mobilenet()
"""torchvision's `mobilenet_v2`."""
MOBILENET_MMSEG: Rules = (
    *(("conv1.conv", "stem.0"), ("conv1.bn", "stem.1")),
    *(("layer1.0.conv.0.conv", "layer1.0.conv.0.0"), ("layer1.0.conv.0.bn", "layer1.0.conv.0.1")),
    *(("layer1.0.conv.1.conv", "layer1.0.conv.1"), ("layer1.0.conv.1.bn", "layer1.0.conv.2")),
    *(("layer{}.{}.conv.2.conv", "layer{}.{}.conv.2"), ("layer{}.{}.conv.2.bn", "layer{}.{}.conv.3")),
    *(("layer{}.{}.conv.{}.conv", "layer{}.{}.conv.{}.0"), ("layer{}.{}.conv.{}.bn", "layer{}.{}.conv.{}.1")),
)
"""mmseg's `MobileNetV2`."""
MOBILENET_TIMM: Rules = (
    *(("conv_stem", "stem.0"), ("bn1", "stem.1")),
    *(("blocks.0.0.conv_dw", "layer1.0.conv.0.0"), ("blocks.0.0.bn1", "layer1.0.conv.0.1")),
    *(("blocks.0.0.conv_pw", "layer1.0.conv.1"), ("blocks.0.0.bn2", "layer1.0.conv.2")),
    *(
        (f"blocks.{layer - 1}.{{}}.{theirs}", f"layer{layer}.{{}}.conv.{ours}")
        for layer in range(2, len(PLANS) + 1)
        for theirs, ours in (
            *(("conv_pw", "0.0"), ("bn1", "0.1"), ("conv_dw", "1.0"), ("bn2", "1.1")),
            *(("conv_pwl", "2"), ("bn3", "3")),
        )
    ),
)
"""timm's `mobilenetv2_100`, `efficientnet_lite0` and the like."""
_COUNTS = dict.fromkeys(tuple(plan.blocks for plan in layer_plans(name)) for name in LITES)
EFFICIENTNET_PYTORCH: tuple[Rules, ...] = tuple(_blocks_of_efficientnet(counts) for counts in _COUNTS)
"""The Lites of efficientnet-lite-pytorch, those with the fewest blocks first."""
VGG: Rules = _features_of_vgg()
"""torchvision's and timm's `vgg16_bn`."""
OURS: Rules = (*_same("stem.{}", "layer{}.{}"), *_BLOCKS, *_same("layer{}.{}.conv.{}.{}", "layer{}.{}.conv.{}"))
"""Any backbone of ours."""

HEAD_SEMSEG: Rules = (("ppm.features.{}.{}", "ppm.{}.{}"), ("cls.{}", "head.{}"))
HEAD_MMSEG: Rules = (
    *(("decode_head.psp_modules.{}.1.conv", "ppm.{}.1"), ("decode_head.psp_modules.{}.1.bn", "ppm.{}.2")),
    *(("decode_head.bottleneck.conv", "head.0"), ("decode_head.bottleneck.bn", "head.1")),
    ("decode_head.conv_seg", "head.4"),
)
HEAD_SMP: Rules = (
    *(("decoder.psp.blocks.{}.pool.1.0", "ppm.{}.1"), ("decoder.psp.blocks.{}.pool.1.1", "ppm.{}.2")),
    *(("decoder.conv.0", "head.0"), ("decoder.conv.1", "head.1"), ("segmentation_head.0", "head.4")),
)
HEAD_OURS: Rules = _same("ppm.{}.{}", "head.{}")
