"""MobileNetV2 as a backbone (Sandler et al. 2018, arXiv:1801.04381), dilated as in mmseg, without its last layer."""

from __future__ import annotations

from pipeline.models.networks.backbone import Backbone
from pipeline.models.networks.inverted_residual import TORCH, Plan, make_backbone
from pipeline.models.spec import PSPNetSpec

PLANS = (
    Plan(1, 16, 1, 1),
    Plan(6, 24, 2, 2),
    Plan(6, 32, 3, 2),
    Plan(6, 64, 4, 2),
    Plan(6, 96, 3, 1),
    Plan(6, 160, 3, 2),
    Plan(6, 320, 1, 1),
)
"""Table 2 of the paper."""


def make_mobilenet(spec: PSPNetSpec) -> Backbone:
    """Build stem and layers; where they are dilated, the first block of a layer alone is, or with "full" each."""
    full = spec.dilation == "full"
    return make_backbone(spec, PLANS, TORCH, lambda _, own: (own, own if full else 1))
