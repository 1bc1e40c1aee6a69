"""How much there is to compute."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pipeline.models.card import Pair
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.spec import PSPNetSpec


def count_flops(spec: PSPNetSpec, size: Pair) -> float:
    """FLOP (two for each multiply and add) of one image of `size` (height, width), before anything is folded.

    It is counted in a pass of no image at all. A device without values would do the same, but torch imports its
    compiler for it: over a second.
    """
    with torch.device("meta"):
        network = PSPNet(spec).eval()
    found: list[int] = []

    def count(convolution: nn.Conv2d, _given: object, scores: Tensor) -> None:
        found.append(2 * convolution.weight.numel() * scores.shape[-2] * scores.shape[-1])

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    weights = {name: torch.empty(values.shape) for name, values in network.state_dict().items()}
    with torch.no_grad():
        functional_call(network, weights, torch.empty(0, spec.in_channels, *size))
    return float(sum(found))
