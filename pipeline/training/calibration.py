"""The temperature of a trained network, fitted on the patches of its validation."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.temperature import LogitSample
from pipeline.training.patch import Sample


def temperature_of(network: PSPNet, batches: Iterable[Sample], cells: int, device: str) -> float | None:
    """Return the temperature that makes the labels of a validation likeliest; None if that is 1.

    Args:
        network: The network, in evaluation mode; it is moved to `device`.
        batches: The patches of the validation.
        cells: Their cells.
        device: Device of torch.

    """
    network = network.to(device)
    sample, first = LogitSample(cells, network.spec.classes), 0
    with torch.inference_mode():
        for batch in batches:
            image = batch.image.to(device, memory_format=torch.channels_last)
            logits = network(image).float().cpu().transpose(0, 1)
            sample.add(first, logits.numpy(), batch.labels.numpy())
            first += batch.labels.numel()
    found = sample.temperature()
    return None if found == 1 else found
