"""Models on disk: loaded strictly, saved whole. Weights are safetensors or ONNX, so nothing in a file can run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from pipeline.errors import ModelError, first_of
from pipeline.files.atomic import write_together
from pipeline.files.digest import sha256_of
from pipeline.files.signatures import stand_in
from pipeline.models.card import Card, read_card
from pipeline.models.catalogue import CARD, MODEL, check_writable, find_model, load_card, names
from pipeline.models.hub.address import cache_of
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.spec import ONNXSpec, PSPNetSpec

__all__ = [
    "Model",
    "ONNXModel",
    "load_any",
    "load_card",
    "load_model",
    "names",
    "record_evaluation",
    "record_temperature",
    "save_model",
]

_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Model:
    """A network in evaluation mode, and its card."""

    card: Card
    network: PSPNet
    """In evaluation mode, float32, on the CPU, without gradients."""
    path: Path
    """File of the weights."""


def load_model(ref: str | Path) -> Model:
    """Load a PSPNet: a packaged name, a folder, or the path of a card or of its weights.

    Raises:
        ModelError: if the model is unknown, its card cannot be used or is that of an ONNX file, the weights are not
            those of the card (SHA-256), or their names and shapes are not those of the network.

    """
    files = find_model(ref)
    card = read_card(files.card)
    spec = card.pspnet
    state = read_weights(files.weights, card.weights_sha256, files.card)
    with torch.device("meta"):
        expected = _stored(PSPNet(spec))
    _check_names(state, expected, files.weights)
    return Model(card, assemble(spec, state), files.weights)


@dataclass(frozen=True)
class ONNXModel:
    """A network in an ONNX file, which is the one that its card names, and the card."""

    card: Card
    spec: ONNXSpec
    """How it is called."""
    path: Path


def load_any(ref: str | Path) -> Model | ONNXModel:
    """Load a model of either kind, to be run: the weights of a PSPNet, or the names of the files of an ONNX network.

    Raises:
        ModelError: as `load_model`, or if a file of an ONNX network is not that of the card (SHA-256).

    """
    files = find_model(ref)
    card = read_card(files.card)
    if isinstance(card.network, PSPNetSpec):
        return load_model(ref)
    check_sha256(files.weights, card.weights_sha256, files.card)
    for data in card.network.data:
        check_sha256(files.weights.parent / data.name, data.sha256, files.card)
    return ONNXModel(card, card.network, files.weights)


def save_model(folder: Path, card: Card, network: PSPNet, *, half: bool = True) -> Card:
    """Write a network, without its auxiliary head, and its card with the right SHA-256; return the card as written.

    Weights are stored as float16, or as float32 unless `half`. Both files are complete before either gets its
    name, and the card comes last, so that a folder with a card is complete. The card loses its int8 form.

    Raises:
        ModelError: for weights that are not finite as they would be stored.
        OutputError: if the files cannot be written.

    """
    data = serialize(_stored(network), torch.float16 if half else torch.float32)
    digest = hashlib.sha256(data).hexdigest()
    written = replace(card, weights_sha256=digest, network=replace(card.pspnet, auxiliary=False), int8=None)
    write_together(folder, {MODEL: data, CARD: written.to_json().encode()})
    return written


def record_evaluation(ref: str | Path, name: str, figures: Mapping[str, Any]) -> Card:
    """Write `figures` into the card of a model, under `evaluation` and `name`, and return the card.

    Raises:
        ModelError: if there is no such model.
        OutputError: if the card cannot be written.

    """
    evaluation = load_card(ref).evaluation
    return _changed(ref, evaluation={**evaluation, name: dict(figures)})


def record_temperature(ref: str | Path, temperature: float) -> Card:
    """Write a temperature into the card of a model, unless it is 1, and return the card.

    Raises:
        ModelError: if there is no such model.
        OutputError: if the card cannot be written.

    """
    return _changed(ref, temperature=None if temperature == 1 else temperature)


def _changed(ref: str | Path, **entries: Any) -> Card:  # noqa: ANN401  (fields of a card)
    """Write the card of a model with some entries changed, and return it."""
    check_writable(ref)
    path = find_model(ref).card
    written = replace(read_card(path), **entries)
    write_together(path.parent, {path.name: written.to_json().encode()})
    return written


def read_weights(path: Path, sha256: str, card: Path) -> dict[str, Tensor]:
    """Read the tensors in the safetensors file `path`.

    Raises:
        ModelError: if it cannot be read, or its SHA-256 is not the one in its `card`.

    """
    check_sha256(path, sha256, card)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ModelError(f"{path}: not a safetensors file ({error})") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot read the weights of this model ({error.strerror})") from error


def check_sha256(path: Path, sha256: str, card: Path) -> None:
    """Raise ModelError if a file of a model cannot be read or has another SHA-256 than its `card` names."""
    try:
        found = sha256_of(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot read this file of the model ({error.strerror})") from error
    if found != sha256 and (kind := stand_in(path)):
        raise ModelError(f"{path}: {kind}")
    if found != sha256:
        raise ModelError(
            f"{path}: SHA-256 is {found}, but {card} says {sha256}; "
            f"the file is damaged or belongs to another card: {_fetch_again(path)}"
        )


def _fetch_again(path: Path) -> str:
    folder = cache_of(path)
    if folder is None:
        return "fetch both again"
    return f"remove {folder} to have both fetched again; if that does not help, choose another revision"


def assemble(spec: PSPNetSpec, state: Mapping[str, Tensor]) -> PSPNet:
    """The network of `spec` with the weights `state`, ready to run; names and shapes have to be its own.

    Weights are copied out of the file that may hold them: its layout would change last digits, and its loss the run.
    """
    with torch.device("meta"):
        network = PSPNet(replace(spec, auxiliary=False))
    full = {name: torch.zeros((), dtype=torch.long) for name in network.state_dict() if name.endswith(_COUNTER)}
    own = {name: tensor.to(torch.float32, copy=True) for name, tensor in state.items()}
    network.load_state_dict(full | own, assign=True)
    return network.eval().requires_grad_(requires_grad=False)


def serialize(state: Mapping[str, Tensor], dtype: torch.dtype) -> bytes:
    """Return `state` as the bytes of a safetensors file.

    Raises:
        ModelError: for weights that are not finite in `dtype`.

    """
    stored = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in state.items()}
    if too_large := [name for name, tensor in stored.items() if not tensor.isfinite().all()]:
        kind = str(dtype).removeprefix("torch.")
        raise ModelError(f"weights cannot be stored as {kind}, some are not finite there: {first_of(too_large)}")
    return save(stored)


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
    if said := [f"{len(found)} {what}: {first_of(found)}" for what, found in faults.items() if found]:
        raise ModelError(f"{path}: the weights are not those of the card's network. {'. '.join(said)}")
