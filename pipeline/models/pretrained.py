"""Backbones to train from: weights without a head, and what they take."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from pipeline.decoding import Meaning, decode, encode
from pipeline.errors import ModelError, first_of
from pipeline.files.atomic import write_together
from pipeline.files.signatures import stand_in
from pipeline.models import spec as architecture
from pipeline.models.card import Normalization
from pipeline.models.catalogue import BACKBONE, BACKBONE_WEIGHTS
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.spec import PSPNetSpec, Stem
from pipeline.models.store import read_weights, serialize

FORMAT = 1
"""Version of the card's layout."""


@dataclass(frozen=True)
class BackboneCard:
    """What a backbone is, and what it was trained to take."""

    format: int
    name: str
    backbone: architecture.Backbone
    stem: Stem
    channels: tuple[str, ...]
    """Names of the input's channels, in order, such as the bands of a satellite."""
    normalization: Annotated[Normalization, Meaning("How values are scaled.", name="normalisation")]
    source: str
    """Family of weights that it came from, such as "torchvision"."""
    license: Annotated[str, Meaning("License of the weights (SPDX where there is one).", name="licence")]
    credits: str
    """Whose data it was trained on."""
    weights_sha256: str
    """SHA-256 of the weights' file, hexadecimal."""

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise ValueError(f"format: this version reads format {FORMAT}, got {self.format}")
        if not self.channels or len(set(self.channels)) != len(self.channels):
            raise ValueError(f"channels: expected one or more different names, got {self.channels}")
        self.normalization.check(len(self.channels))

    def to_json(self) -> str:
        """Return the card as a JSON document, one key per line."""
        return json.dumps(encode(self), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Pretrained:
    """A backbone, loaded."""

    card: BackboneCard
    state: Mapping[str, Tensor]
    """Weights by the names that they have in a `PSPNet`: `stem.*` and `layer1.*` and on."""

    def start(self, network: PSPNet) -> None:
        """Copy the weights into `network`, whose head stays as it is.

        Layers that a truncated network does not have are left out. Raises ModelError where backbone, stem, channels,
        names or shapes differ.
        """
        self._check(network.spec)
        own = _backbone_of(network.state_dict())
        wrong = [name for name, x in own.items() if name not in self.state or self.state[name].shape != x.shape]
        if wrong:
            raise ModelError(f"backbone {self.card.name}: does not have the network's {first_of(wrong)}")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(self.state[name])

    def _check(self, spec: PSPNetSpec) -> None:
        here = (self.card.backbone, self.card.stem, len(self.card.channels))
        wanted = (spec.backbone, spec.stem, spec.in_channels)
        if here != wanted:
            raise ModelError(
                f"backbone {self.card.name}: is {here[0]} with stem {here[1]} for {here[2]} channels; the network is "
                f"{wanted[0]} with stem {wanted[1]} for {wanted[2]}. Change its spec, or import the backbone with "
                f"--for-channels"
            )


def load_backbone(folder: Path) -> Pretrained:
    """Load the backbone in `folder`.

    Raises:
        ModelError: if there is none, or its card or weights cannot be used.

    """
    card = read_backbone_card(folder)
    state = read_weights(folder / BACKBONE_WEIGHTS, card.weights_sha256, folder / BACKBONE)
    return Pretrained(card, {name: tensor.to(torch.float32, copy=True) for name, tensor in state.items()})


def read_backbone_card(folder: Path) -> BackboneCard:
    """Read the card of the backbone in `folder`.

    Raises:
        ModelError: if there is none, or it cannot be used.

    """
    path = folder / BACKBONE
    try:
        return decode(BackboneCard, json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ModelError(f"{path}: cannot read the card of this backbone ({error.strerror})") from error
    except ValueError as error:
        raise ModelError(f"{path}: {stand_in(path) or error}") from error


def save_backbone(folder: Path, card: BackboneCard, state: Mapping[str, Tensor], *, half: bool = False) -> BackboneCard:
    """Write a backbone as `pipeline.models.store.save_model` writes a model; return the card as written."""
    data = serialize(state, torch.float16 if half else torch.float32)
    written = replace(card, weights_sha256=hashlib.sha256(data).hexdigest())
    write_together(folder, {BACKBONE_WEIGHTS: data, BACKBONE: written.to_json().encode()})
    return written


def backbone_shapes(trunk: architecture.Backbone, stem: Stem, in_channels: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all weights of a backbone alone, by name."""
    with torch.device("meta"):
        state = PSPNet(PSPNetSpec(trunk, in_channels, 1, stem=stem)).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in _backbone_of(state).items()}


def _backbone_of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor
        for name, tensor in state.items()
        if name.startswith(("stem.", "layer")) and not name.endswith("num_batches_tracked")
    }
