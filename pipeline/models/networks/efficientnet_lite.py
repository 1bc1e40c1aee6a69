"""EfficientNet-Lite0 to Lite4 as backbones, dilated as in timm, without their last layer.

EfficientNet (Tan and Le 2019, arXiv:1905.11946) without squeeze-and-excitation, with ReLU6, and with a stem and a first
and a last layer that do not grow with the network: Google's `efficientnet/lite` in the repository tensorflow/tpu.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from pipeline.models.networks.backbone import Backbone
from pipeline.models.networks.inverted_residual import TENSORFLOW, TORCH, Convention, Plan, make_backbone
from pipeline.models.spec import Backbone as BackboneName
from pipeline.models.spec import PSPNetSpec

PLANS = (
    Plan(1, 16, 1, 1, 3),
    Plan(6, 24, 2, 2, 3),
    Plan(6, 40, 2, 2, 5),
    Plan(6, 80, 3, 2, 3),
    Plan(6, 112, 3, 1, 5),
    Plan(6, 192, 4, 2, 5),
    Plan(6, 320, 1, 1, 3),
)
"""Of Lite0: table 1 of the paper."""
_DIVISOR = 8
"""Numbers of channels are multiples of this."""


class Lite(NamedTuple):
    """One of the networks."""

    width: float
    """Channels of its layers per channel of Lite0's."""
    depth: float
    """Blocks of its inner layers per block of Lite0's."""
    convention: Convention
    """TensorFlow's, as Google trained them, or torch's, as timm trains those without `tf_` in their names."""


LITES: dict[BackboneName, Lite] = {
    "efficientnet_lite0": Lite(1.0, 1.0, TENSORFLOW),
    "efficientnet_lite1": Lite(1.0, 1.1, TENSORFLOW),
    "efficientnet_lite2": Lite(1.1, 1.2, TENSORFLOW),
    "efficientnet_lite3": Lite(1.2, 1.4, TENSORFLOW),
    "efficientnet_lite4": Lite(1.4, 1.8, TENSORFLOW),
    "efficientnet_lite0_symmetric": Lite(1.0, 1.0, TORCH),
    "efficientnet_lite1_symmetric": Lite(1.0, 1.1, TORCH),
    "efficientnet_lite2_symmetric": Lite(1.1, 1.2, TORCH),
    "efficientnet_lite3_symmetric": Lite(1.2, 1.4, TORCH),
    "efficientnet_lite4_symmetric": Lite(1.4, 1.8, TORCH),
}


def layer_plans(backbone: BackboneName) -> tuple[Plan, ...]:
    """Plans of layer1 to layer7."""
    lite, ends = LITES[backbone], (0, len(PLANS) - 1)
    return tuple(
        plan._replace(
            channels=_rounded(plan.channels * lite.width),
            blocks=plan.blocks if index in ends else ceil(plan.blocks * lite.depth),
        )
        for index, plan in enumerate(PLANS)
    )


def make_efficientnet_lite(spec: PSPNetSpec) -> Backbone:
    """Build stem and layers; a dilated layer starts with the dilation of the layer before, or with "full" its own."""
    full = spec.dilation == "full"
    plans, convention = layer_plans(spec.backbone), LITES[spec.backbone].convention
    return make_backbone(spec, plans, convention, lambda before, own: (own if full else before, own))


def _rounded(channels: float) -> int:
    """To the nearest multiple, but never more than a tenth below."""
    near = max(_DIVISOR, int(channels + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
    return near + _DIVISOR if near < 0.9 * channels else near
