"""Write a PSPNet as an ONNX file, and hold what ONNX Runtime computes with it against torch."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.errors import OutputError, PipelineError
from pipeline.files.atomic import atomic_write
from pipeline.models.card import Pair
from pipeline.models.exchange.graph import read_graph
from pipeline.models.exchange.metadata import metadata_of
from pipeline.models.exchange.session import open_session, run
from pipeline.models.networks.folded import fuse_conv_bn
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.store import Model, load_model

OPSET = 17
"""Version of the operators: old enough for the ONNX Runtime that users of QGIS have."""
MOST = 1e-5
"""How much probabilities may differ from those of torch."""
INPUT, OUTPUT = "image", "probabilities"


@dataclass(frozen=True)
class ExportedModel:
    """A model that was written as ONNX."""

    model: str
    output: str
    opset: int
    patch: Pair
    """Height and width of the patches that it takes."""
    difference: float
    """Largest difference of a probability from that of torch, for a patch of noise."""
    notes: tuple[str, ...]
    """What Deepness must be told, or cannot do."""


def export_model(ref: str | Path, out: Path, *, overwrite: bool = False) -> ExportedModel:
    """Write the PSPNet `ref` to the ONNX file `out`: patches of its card's size to probabilities.

    Its metadata have its card, and for scenes what the QGIS plugin Deepness reads.

    Raises:
        ModelError: if there is no such model, or it is no PSPNet.
        OutputError: if `out` exists, or cannot be written.
        PipelineError: if ONNX Runtime does not compute what torch does; nothing is written.

    """
    if out.exists() and not overwrite:
        raise OutputError(f"{out}: already exists; use --overwrite to replace it, or give another name")
    model = load_model(ref)
    card = model.card
    network = _Probabilities(model.network, card.patch).eval()
    image = torch.from_numpy(_noise(card.pspnet.in_channels, card.patch))
    with atomic_write(out) as draft:
        _trace(network, image, draft)
        _add_metadata(draft, metadata_of(card))
        difference = _difference(draft, model, image)
        if not difference <= MOST:
            raise PipelineError(
                f"{out}: not written, for ONNX Runtime computes something else than torch: probabilities differ by "
                f"{difference:.1e}, and {MOST:.0e} is the most"
            )
    return ExportedModel(card.name, str(out), OPSET, card.patch, float(f"{difference:.2g}"), tuple(_notes(model)))


class _Probabilities(nn.Module):
    """A PSPNet with its batch norms folded away, from patches of one size to probabilities."""

    def __init__(self, network: PSPNet, patch: Pair) -> None:
        super().__init__()
        self.network = fuse_conv_bn(deepcopy(network))
        with torch.inference_mode():
            features, _ = network.features(torch.zeros(1, network.spec.in_channels, *patch))
        size = int(features.shape[2]), int(features.shape[3])
        for level, side in zip(self.network.ppm, network.spec.bins, strict=True):
            level[0] = _Pool(side, size) if side > 1 else level[0]  # type: ignore[index,operator]

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image).softmax(1)  # type: ignore[no-any-return]


class _Pool(nn.Module):
    """Averages over `side` x `side` parts of features of one size: ONNX has them only for parts of equal sizes."""

    def __init__(self, side: int, size: Pair) -> None:
        super().__init__()
        self.register_buffer("rows", _shares(side, size[0]))
        self.register_buffer("columns", _shares(side, size[1]).T.contiguous())

    def forward(self, features: Tensor) -> Tensor:
        return self.rows @ features @ self.columns  # type: ignore[operator]


def _shares(side: int, length: int) -> Tensor:
    """Return what each of `length` cells adds to each of `side` averages."""
    unit = torch.eye(length, dtype=torch.float64)[None]
    return nn.functional.adaptive_avg_pool1d(unit, side)[0].T.float()


def _trace(network: nn.Module, image: Tensor, path: Path) -> None:
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # sizes become constants, as they should
        torch.onnx.export(
            network,
            (image,),
            path,
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            dynamo=False,
        )


def _add_metadata(path: Path, metadata: dict[str, str]) -> None:
    model = onnx.load_model(path, format="protobuf")
    onnx.helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _difference(path: Path, model: Model, image: Tensor) -> float:
    with torch.inference_mode():
        expected = model.network(image).softmax(1)
    found = torch.from_numpy(run(open_session(read_graph(path)), INPUT, OUTPUT, image.numpy()))
    return float((found - expected).abs().max())


def _noise(channels: int, patch: Pair) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((1, channels, *patch), np.float32)


def _notes(model: Model) -> Iterator[str]:
    """Yield what Deepness must be told, or does otherwise."""
    card = model.card
    if card.kind != "scene":
        return
    if card.patch[0] != card.patch[1]:
        yield f"Deepness takes square patches alone, and these are {card.patch[0]} x {card.patch[1]}"
    if card.zoom not in (None, 1):
        yield f"set the resolution in Deepness to that of the scene divided by {card.zoom:g}, which the model sees"
    elif card.spacing is None:
        yield "set the resolution in Deepness: the model takes pixels of any size"
    if card.normalization.kind != "fixed":
        yield f"Deepness cannot scale values as this model does ({card.normalization.kind})"
