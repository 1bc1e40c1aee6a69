"""Models on disk: loaded strictly, saved whole. Weights are safetensors only, so nothing in a file can run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from pipeline.errors import ModelError
from pipeline.models.card import Card, read_card
from pipeline.models.catalogue import CARD, MODEL, find_model, load_card, names
from pipeline.models.pspnet import PSPNet

__all__ = ["Model", "load_card", "load_model", "names", "save_model"]

_COUNTER = "num_batches_tracked"
_NAMED = 10


@dataclass(frozen=True)
class Model:
    """A network that is ready to run, and its card."""

    card: Card
    network: PSPNet
    """In evaluation mode, float32, on the CPU, without gradients."""
    path: Path
    """File of the weights."""


def load_model(ref: str | Path) -> Model:
    """Load a packaged name, a folder, or the path of a card or of its weights.

    Raises ModelError if the model is unknown, its card cannot be used, the weights are not those of the card
    (SHA-256), or their names and shapes are not those of the network.
    """
    files = find_model(ref)
    card = read_card(files.card)
    found = _sha256(files.weights)
    if found != card.weights_sha256:
        raise ModelError(
            f"{files.weights}: SHA-256 is {found}, but {files.card} says {card.weights_sha256}; "
            f"the file is damaged or belongs to another card: fetch both again"
        )
    try:
        state = load_file(files.weights)
    except SafetensorError as error:
        raise ModelError(f"{files.weights}: not a safetensors file ({error})") from error
    return Model(card, _network(card, state, files.weights), files.weights)


def save_model(folder: Path, card: Card, network: PSPNet) -> Card:
    """Write `network` as float16, without its auxiliary head, and its card with the right SHA-256; the card written.

    The card comes last, so that a folder with a card is whole.
    """
    state = {name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in _stored(network).items()}
    if too_large := [name for name, tensor in state.items() if not tensor.isfinite().all()]:
        raise ModelError(f"weights cannot be stored as float16, some are not finite there: {_first(too_large)}")
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{MODEL}.part"
    part.write_bytes(save(state))
    written = replace(card, weights_sha256=_sha256(part), network=replace(card.network, auxiliary=False))
    part.replace(folder / MODEL)
    part = folder / f"{CARD}.part"
    part.write_text(written.to_json(), encoding="utf-8")
    part.replace(folder / CARD)
    return written


def _network(card: Card, state: Mapping[str, Tensor], path: Path) -> PSPNet:
    with torch.device("meta"):
        network = PSPNet(replace(card.network, auxiliary=False))
    _check_names(state, _stored(network), path)
    full = {name: torch.zeros((), dtype=torch.long) for name in network.state_dict() if name.endswith(_COUNTER)}
    network.load_state_dict(full | {name: tensor.float() for name, tensor in state.items()}, assign=True)
    return network.eval().requires_grad_(requires_grad=False)


def _stored(network: PSPNet) -> dict[str, Tensor]:
    state = network.state_dict()
    return {name: x for name, x in state.items() if not name.endswith(_COUNTER) and not name.startswith("aux.")}


def _check_names(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    shapes = [
        f"{name} is {tuple(state[name].shape)}, the network's is {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    missing = [name for name in expected if name not in state]
    unknown = [name for name in state if name not in expected]
    faults = {"missing": missing, "unknown": unknown, "of another shape": shapes}
    if said := [f"{len(found)} {what}: {_first(found)}" for what, found in faults.items() if found]:
        raise ModelError(f"{path}: the weights are not those of the card's network. {'. '.join(said)}")


def _first(found: list[str]) -> str:
    return "; ".join(found[:_NAMED]) + ("; ..." if len(found) > _NAMED else "")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
