"""Small models of both kinds, with random weights."""

from __future__ import annotations

from dataclasses import replace

import torch

from pipeline.models.card import FORMAT, Card, ClassEntry, Normalization
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.spec import PSPNetSpec
from pipeline.models.store import Model

CARD_2D = Card(
    format=FORMAT,
    name="small scene",
    kind="scene",
    classes=(ClassEntry("a", (200, 60, 50)), ClassEntry("b", (0, 0, 0)), ClassEntry("c", (50, 110, 200))),
    network=PSPNetSpec("resnet18", 2, 3, output_stride=16, ppm_channels=4, head_channels=8),
    patch=(64, 48),
    overlap=(16, 12),
    channels=("red", "green"),
    margin=0,
    normalization=Normalization("fixed", (100.0, 50.0), (40.0, 20.0)),
    spacing=None,
    orientation=None,
    views=(),
    averaging="softmax",
    window="gaussian",
    weights_sha256="",
    license="CC0-1.0",
    credits="nobody",
    evaluation={},
)
CARD_3D = Card(
    format=FORMAT,
    name="small volume",
    kind="volume",
    classes=(ClassEntry("background", (0, 0, 0)), ClassEntry("organ", (255, 0, 0))),
    network=PSPNetSpec("resnet18", 3, 2, output_stride=16, ppm_channels=4, head_channels=8),
    patch=(48, 32),
    overlap=(24, 16),
    channels=("MR",),
    margin=1,
    normalization=Normalization("zscore", (), ()),
    spacing=(0.5, 0.5),
    orientation="RAS",
    views=("axial",),
    averaging="logits",
    window="gaussian",
    weights_sha256="",
    license="CC0-1.0",
    credits="nobody",
    evaluation={},
)


def shallow(spec: PSPNetSpec) -> PSPNetSpec:
    """Two of the four layers, for tests that do not ask how a network is built."""
    return replace(spec, output_stride=8, truncated=True)


def quick_to_compile(spec: PSPNetSpec) -> PSPNetSpec:
    """With one level of the pyramid: a compiler has half of the kernels to make."""
    return replace(shallow(spec), bins=(2,))


def network_of(spec: PSPNetSpec, seed: int = 0) -> PSPNet:
    """A network whose batch norms are not the identity, and whose decoder says something, in evaluation mode."""
    torch.manual_seed(seed)
    network = PSPNet(spec)
    if network.decoder is not None:
        torch.nn.init.normal_(network.decoder.last.weight)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.2)
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def model_of(card: Card, tmp_path: object = None) -> Model:
    """A model that was never on disk."""
    return Model(card, network_of(card.network), tmp_path)
