"""Initialize a network from the weights of a model, or of a backbone alone."""

from __future__ import annotations

from pathlib import Path

import torch

from pipeline.errors import ModelError
from pipeline.models.catalogue import BACKBONE, WEIGHTS, backbones, names
from pipeline.models.hub.address import is_on_hub
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.pretrained import load_backbone
from pipeline.models.store import load_model


def initialize_from(network: PSPNet, ref: str, base: Path) -> None:
    """Copy weights into `network`: a packaged model or backbone by name, or a folder of one.

    A folder is relative to `base`, or else to the folder that the command is given in. Of a model with other classes,
    the last convolution is left as it is, and of a decoder what the model has none of, and so what reads that. Raises
    ModelError where anything else differs, or there are no such weights.
    """
    path = _found(ref, base)
    if isinstance(path, Path) and (path / BACKBONE).exists():
        load_backbone(path).start(network)
        return
    _copy_model(network, path)


def _found(ref: str, base: Path) -> str | Path:
    if ref in names() or is_on_hub(ref):
        return ref
    packaged = [WEIGHTS / ref] if ref in backbones() else []
    places: list[Path] = [base / ref, Path(ref), *packaged]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise ModelError(
            f"network.pretrained = {ref}: there are no such weights. Give the name of a packaged model "
            f"({', '.join(names())}) or backbone ({', '.join(backbones())}), a folder of either, or hf:owner/name"
        )
    return found


def _copy_model(network: PSPNet, ref: str | Path) -> None:
    model = load_model(ref).network
    known, own = model.state_dict(), network.state_dict()
    new = _new_in_decoder(network.spec.decoder_strides, model.spec.decoder_strides)
    free = ("head.4.", "aux.", "decoder.last.", *new)
    wrong = [
        f"{name} is {tuple(known[name].shape) if name in known else 'missing'} there, {tuple(tensor.shape)} here"
        for name, tensor in own.items()
        if not name.startswith(free) and (name not in known or known[name].shape != tensor.shape)
    ]
    if wrong:
        raise ModelError(f"network.pretrained = {ref}: is of another network. {'; '.join(wrong[:10])}")
    with torch.no_grad():
        for name, tensor in own.items():
            if name in known and known[name].shape == tensor.shape and not name.startswith(new):
                tensor.copy_(known[name])


def _new_in_decoder(own: tuple[int, ...], known: tuple[int, ...]) -> tuple[str, ...]:
    """Return prefixes of the weights that a decoder with strides `own` cannot take from one with strides `known`."""
    if own == known:
        return ()
    stages = tuple(f"decoder.stages.{number}." for number in range(len(known), len(own)))
    return (*stages, "decoder.last.") if known else ("decoder.",)
