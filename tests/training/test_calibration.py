"""A network whose logits are scaled by a known factor gets that factor as its temperature."""

from __future__ import annotations

import torch

from pipeline.training.calibration import temperature_of
from pipeline.training.patch import IGNORE, Sample
from tests.support.model_cases import CARD_2D, network_of, shallow


def batches(network, count=4):
    """Noise, and labels drawn by the softmax of the network's logits; a corner is ignored."""
    torch.manual_seed(0)
    for _ in range(count):
        image = torch.randn(2, 2, 64, 64)
        with torch.inference_mode():
            logits = network(image)
        labels = (logits - (-torch.rand_like(logits).log()).log()).argmax(1)
        labels[:, :9, :9] = IGNORE
        yield Sample(image, labels)


def test_a_factor_of_the_logits_is_the_temperature():
    network = network_of(shallow(CARD_2D.network))
    network.head[4].weight.data *= 4
    samples = list(batches(network))
    for layer in (network.head[4].weight, network.head[4].bias):
        layer.data *= 3
    found = temperature_of(network, samples, 8 * 64 * 64, "cpu")
    assert 2.8 < found < 3.2
    for layer in (network.head[4].weight, network.head[4].bias):
        layer.data /= found
    again = temperature_of(network, samples, 8 * 64 * 64, "cpu")
    assert again is None or abs(again - 1) < 2e-3
