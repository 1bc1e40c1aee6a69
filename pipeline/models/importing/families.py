"""The families of weights that can be read: how each names its tensors, and what it takes for granted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from pipeline.models.importing import key_maps
from pipeline.models.importing.defaults import IMAGENET, Defaults, fixed
from pipeline.models.importing.key_maps import Naming, Rules, with_prefix
from pipeline.models.importing.options import Preset


@dataclass(frozen=True)
class Family:
    """One way in which a project lays out its weights."""

    presets: tuple[Preset, ...]
    """Presets that lay them out so; the first is taken where none is asked for."""
    kind: Literal["model", "backbone"]
    naming: Naming
    ignored: str = r"(?!)"
    """Names, as a regular expression, of what a network here has no use for."""

    def knows(self, name: str) -> bool:
        """Whether a tensor of this name is taken or left out on purpose."""
        return self.leaves_out(name) or self.naming.knows(name)

    def leaves_out(self, name: str) -> bool:
        """Whether a tensor of this name has no use here."""
        return self._ignored.match(name) is not None

    @cached_property
    def _ignored(self) -> re.Pattern[str]:
        return re.compile(self.ignored)

    def share(self, tensors: Iterable[str]) -> int:
        """How many of these names are known."""
        return sum(map(self.knows, tensors))


def _whole(preset: Preset, backbone: Rules, head: Rules, ignored: str) -> Family:
    return Family((preset,), "model", Naming((*backbone, *head)), ignored)


def _alone(presets: tuple[Preset, ...], rules: Rules, ignored: str, prefix: str = "") -> Family:
    return Family(presets, "backbone", Naming(with_prefix(prefix, rules)), ignored)


_CLASSIFIER = r"(backbone\.)?(fc|classifier|head|pre_logits)\."
_TOP_OF_MOBILENET = r"(backbone\.)?(features\.18|conv2|conv_head|bn2|classifier|head)\."
_TOP_OF_EFFICIENTNET = r"(_conv_head|_bn1|_fc)\."
_SMP = r"classification_head\."
_SMP_MOBILENET = r"classification_head\.|encoder\.(features\.18|(model\.)?(conv_head|bn2|classifier))\."
_MOCO = r"encoder_k\.|queue|encoder_q\.fc\."
_SATLAS = r"(backbone\.)*(intermediates|upsample|heads?|fpn|resnet\.fc)\."

FAMILIES = (
    _whole("semseg", key_maps.RESNET_SEMSEG, key_maps.HEAD_SEMSEG, r"aux\."),
    _whole("mmseg", with_prefix("backbone.", key_maps.RESNET_V1C), key_maps.HEAD_MMSEG, r"auxiliary_head\."),
    _whole("mmseg-b", with_prefix("backbone.", key_maps.RESNET), key_maps.HEAD_MMSEG, r"auxiliary_head\."),
    _whole("mmseg-mnv2", with_prefix("backbone.", key_maps.MOBILENET_MMSEG), key_maps.HEAD_MMSEG, r"auxiliary_head\."),
    *(
        _whole("smp", with_prefix(prefix, rules), key_maps.HEAD_SMP, ignored)
        for prefix, rules, ignored in (
            ("encoder.", key_maps.RESNET, _SMP),
            ("encoder.", key_maps.MOBILENET, _SMP_MOBILENET),
            ("encoder.", key_maps.VGG, _SMP),
            ("encoder.", key_maps.MOBILENET_TIMM, _SMP_MOBILENET),
            ("encoder.model.", key_maps.RESNET, _SMP),
            ("encoder.model.", key_maps.MOBILENET_TIMM, _SMP_MOBILENET),
        )
    ),
    _alone(("torchvision", "timm", "ssl4eo", "satlas", "mmseg-b"), key_maps.RESNET, _CLASSIFIER),
    _alone(("torchvision",), key_maps.MOBILENET, _TOP_OF_MOBILENET),
    _alone(("torchvision", "timm"), key_maps.VGG, _CLASSIFIER),
    _alone(("timm",), key_maps.MOBILENET_TIMM, _TOP_OF_MOBILENET),
    *(_alone(("efficientnet-pytorch",), rules, _TOP_OF_EFFICIENTNET) for rules in key_maps.EFFICIENTNET_PYTORCH),
    _alone(("ssl4eo",), key_maps.RESNET, _MOCO, "encoder_q."),
    *(_alone(("satlas",), key_maps.RESNET, _SATLAS, f"{'backbone.' * count}resnet.") for count in (0, 1, 2)),
    *(_alone(("mmseg",), key_maps.RESNET_V1C, _CLASSIFIER, prefix) for prefix in ("", "backbone.")),
    *(_alone(("mmseg-mnv2",), key_maps.MOBILENET_MMSEG, _TOP_OF_MOBILENET, prefix) for prefix in ("", "backbone.")),
    _alone(("mmseg-b",), key_maps.RESNET, _CLASSIFIER, "backbone."),
    _alone(("semseg",), key_maps.RESNET_DEEP, _CLASSIFIER),
    _whole("own", key_maps.OURS, key_maps.HEAD_OURS, r"aux\."),
)
"""Where several know as many names of a file, the first of them is meant."""

_MMSEG = Defaults(
    "usual in mmseg",
    output_stride=8,
    dilation="contracted",
    basic_dilation="conv1",
    align_corners=False,
    averaging="logits",
    patch=(512, 512),
    bins=(1, 2, 3, 6),
    dropout=0.1,
    threshold=0.3,
)
_HOMES: dict[Preset, Defaults] = {
    "semseg": Defaults(
        "usual in semseg",
        output_stride=8,
        dilation="full",
        basic_dilation="both",
        align_corners=True,
        averaging="softmax",
        patch=(473, 473),
        bins=(1, 2, 3, 6),
        dropout=0.1,
        threshold=0.5,
    ),
    "mmseg": _MMSEG,
    "mmseg-b": _MMSEG,
    "mmseg-mnv2": _MMSEG,
    "smp": Defaults(
        "usual in smp",
        dilation="full",
        basic_dilation="both",
        align_corners=True,
        averaging="softmax",
        patch=(480, 480),
        bins=(1, 2, 3, 6),
        dropout=0.2,
        threshold=0.5,
    ),
    "own": Defaults(
        "default of PSPNetSpec",
        output_stride=8,
        dilation="contracted",
        basic_dilation="conv1",
        align_corners=False,
        averaging="softmax",
        patch=(480, 480),
        bins=(1, 2, 3, 6),
        dropout=0.1,
        threshold=0.5,
    ),
}
"""As in hszhao/semseg 4f274c3, mmsegmentation 1.2.2 and segmentation-models-pytorch 0.6.0."""


def project_defaults(preset: Preset, in_channels: int) -> Defaults:
    """What the project of `preset` takes for granted; for three channels also that they are red, green and blue."""
    usual = replace(_HOMES.get(preset, Defaults(f"usual in {preset}")), padding="same")
    if in_channels != 3:
        return usual
    return replace(usual, channels=("red", "green", "blue"), normalization=fixed(*IMAGENET))
