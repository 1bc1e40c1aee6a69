"""Which kind of EfficientNet-Lite a file is of: Google's or timm's own, whose weights look the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from pipeline.errors import RequestError
from pipeline.models.importing.defaults import Defaults, Findings, fixed
from pipeline.models.importing.options import Padding, Preset
from pipeline.models.importing.read import Checkpoint
from pipeline.models.importing.shapes import Trunk
from pipeline.models.networks.efficientnet_lite import LITES, layer_plans
from pipeline.models.spec import Backbone

_NAME = re.compile(r"(timm-|tu-)?(tf_)?efficientnet_lite[0-4]")
_GOOGLE = fixed((127.0,) * 3, (128.0,) * 3)
_INCEPTION = fixed((127.5,) * 3, (127.5,) * 3)


def said_of_padding(checkpoint: Checkpoint, preset: Preset) -> tuple[Defaults, ...]:
    """What a file of timm or smp says of the padding of an EfficientNet-Lite, the most trusted first."""
    if preset not in ("timm", "smp"):
        return ()
    names = {
        "config.json": checkpoint.config.get("architecture") or checkpoint.config.get("encoder_name"),
        "the file's name": checkpoint.name,
    }
    if any(name.startswith("encoder.conv_stem.") for name in checkpoint.tensors):
        names = {"names": "timm-tf_efficientnet_lite0"}
    return tuple(_said(where, str(name)) for where, name in names.items() if _NAME.match(str(name)))


def with_padding(findings: Findings, trunk: Trunk, preset: Preset) -> Trunk:
    """`trunk` as the kind with the padding that was asked for or found, and what is usual for its pixels in `findings`.

    Raises RequestError where --padding is given for another backbone.
    """
    if trunk.backbone not in LITES:
        _refuse_padding(findings, trunk)
        return trunk
    padding: Padding = findings.pick("padding")
    if trunk.in_channels == 3 and preset == "efficientnet-pytorch":
        findings.usual = replace(findings.usual, normalization=_GOOGLE)
    if trunk.in_channels == 3 and preset == "timm" and padding == "same":
        findings.usual = replace(findings.usual, normalization=_INCEPTION)
    return replace(trunk, backbone=next(name for name in _kinds(trunk) if _padding_of(name) == padding))


def _said(where: str, name: str) -> Defaults:
    """By timm's name; smp builds the encoders that it calls `timm-tf_...` without TensorFlow's padding."""
    same = name.startswith(("tf_", "tu-tf_"))
    return Defaults(where, padding="same" if same else "symmetric")


def _refuse_padding(findings: Findings, trunk: Trunk) -> None:
    if (padding := findings.options.padding) is not None:
        raise RequestError(
            f"--padding {padding}: is for an EfficientNet-Lite, but the file's backbone is {trunk.backbone}"
        )


def _kinds(trunk: Trunk) -> Iterator[Backbone]:
    """Names of the networks of the same names and shapes."""
    return (name for name in LITES if layer_plans(name) == layer_plans(trunk.backbone))


def _padding_of(backbone: Backbone) -> Padding:
    return "same" if LITES[backbone].convention.same else "symmetric"
