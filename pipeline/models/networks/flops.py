"""How much there is to compute."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.models.card import Pair
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.spec import PSPNetSpec


def count_flops(spec: PSPNetSpec, size: Pair) -> float:
    """FLOP (two for each multiply and add) of one image of `size` (height, width), before anything is folded."""
    with torch.device("meta"):
        network = PSPNet(spec).eval()
        image = torch.empty(1, spec.in_channels, *size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    return float(counter.get_total_flops())
