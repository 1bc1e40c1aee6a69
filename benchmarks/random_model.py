"""Write a PSPNet with random weights: for speed and memory the weights do not matter, the shapes do.

python benchmarks/random_model.py FOLDER [--backbone resnet18] [--classes 6] [--patch 512] [--overlap 128]
       [--channels 3]
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch

from pipeline.models.card import FORMAT, Card, ClassEntry, Normalization
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.spec import Backbone, PSPNetSpec
from pipeline.models.store import save_model
from tests.support.inputs import undecided
from tests.support.model_cases import network_of

VOLUMES = {
    "window": Normalization("window", (50.0,), (250.0,), (-200.0,), (300.0,)),
    "zscore": Normalization("zscore", (), ()),
}
"""By kind: what needs no statistics of a volume, and what does."""


def write(
    folder: Path,
    backbone: Backbone = "resnet18",
    classes: int = 6,
    patch: int = 512,
    overlap: int = 128,
    channels: int = 3,
) -> None:
    """A model of scenes."""
    _save(folder, _scene(backbone, classes, patch, overlap, channels))


def write_light(folder: Path, patch: int, overlap: int, spacing: float | None = None) -> None:
    """A small model of scenes, of which each class wins somewhere; `spacing` is that of its pixels in meters."""
    card = _scene("mobilenet_v2", 6, patch, overlap)
    light = replace(card.network, output_stride=8, truncated=True, ppm_channels=4, head_channels=8)
    card = replace(card, network=light, spacing=None if spacing is None else (spacing, spacing))
    save_model(folder, card, undecided(network_of(light)))


def write_volume(folder: Path, normalization: str, classes: int = 3, patch: int = 256, overlap: int = 64) -> None:
    """A model of volumes that sees three slices."""
    scene = _scene("resnet18", classes, patch, overlap)
    small = replace(scene.network, output_stride=32, ppm_channels=4, head_channels=8)
    of_volumes = {"kind": "volume", "channels": ("CT",), "margin": 1, "orientation": "RAS", "views": ("axial",)}
    _save(folder, replace(scene, **of_volumes, normalization=VOLUMES[normalization], network=small))


def _save(folder: Path, card: Card) -> None:
    torch.manual_seed(0)
    save_model(folder, card, PSPNet(card.network).eval())


def _scene(backbone: Backbone, classes: int, patch: int, overlap: int, channels: int = 3) -> Card:
    wide = 128 if backbone == "resnet18" else 512
    spec = PSPNetSpec(backbone, channels, classes, ppm_channels=wide, head_channels=wide)
    return Card(
        format=FORMAT,
        name=f"random-{backbone}",
        kind="scene",
        classes=tuple(ClassEntry(f"class {i}", (40 * i % 256, 90 * i % 256, 170 * i % 256)) for i in range(classes)),
        network=spec,
        patch=(patch, patch),
        overlap=(overlap, overlap),
        channels=("red", "green", "blue") if channels == 3 else tuple(f"channel {i}" for i in range(1, channels + 1)),
        margin=0,
        normalization=Normalization("fixed", (110.0,) * channels, (60.0,) * channels),
        spacing=None,
        orientation=None,
        views=(),
        averaging="logits",
        window="gaussian",
        weights_sha256="",
        license="CC0-1.0",
        credits="none: random weights",
        evaluation={},
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", choices=get_args(Backbone), default="resnet18")
    for name, default in {"classes": 6, "patch": 512, "overlap": 128, "channels": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    write(**vars(parser.parse_args()))
