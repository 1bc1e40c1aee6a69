"""Quantize a network to int8 with NNCF: fitted to some patches, and compared with float32 on others."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import PipelineError
from pipeline.models.card import Int8
from pipeline.models.catalogue import INT8_GRAPH, INT8_WEIGHTS
from pipeline.models.inference.device import fast_in_bf16
from pipeline.models.inference.openvino import Graph, OpenVINONetwork, graph_of, save_graph
from pipeline.models.inference.runtime import Network, build_inference_model
from pipeline.models.networks.folded import FoldedPSPNet
from pipeline.models.store import Model

import nncf  # isort: skip  # after pipeline.models.inference.openvino, which keeps it from reporting its use over the net

_ALWAYS = (
    r".*adaptive_avg_pool.*",
    r".*\.folded\.levels\..*",
    r".*aten::add_?/Add.*",
    r".*\.folded\.last/.*",
    r".*\.folded\.decoder\..*",
)
"""Operations that stay in float: the pyramid, sums and the last convolution, at no cost in time, and a decoder, whose
rounding would go straight into the scores."""
FIRST = 2
"""Layers that are always left in float, the stem among them: little work, and their errors go through all others."""
_WHOLE = ("pyramid", "sums", "last convolution")


@dataclass(frozen=True)
class QuantizedModel:
    """The int8 form of a network, and its files."""

    form: Int8
    files: Mapping[str, bytes]
    """Files to put next to the model's weights, by name."""
    left: tuple[str, ...]
    """What was left in float."""


def quantize_model(
    model: Model,
    calibration: Sequence[Tensor],
    checking: Sequence[Tensor],
    floor: float,
    tell: Callable[[str], None] = lambda _: None,
) -> QuantizedModel:
    """The int8 form of `model` for images `(1, in_channels, h, w)` of one size.

    Its ranges are those of the `calibration` images; its labels are held against those of float32 on the `checking`
    images. Layers are left in float from the first on, until the share of equal labels reaches `floor`. Raises
    PipelineError if it never does.
    """
    _quiet()
    folded = FoldedPSPNet(model.network)
    expected = _labels(build_inference_model(model).network, checking)
    shape = tuple(checking[0].shape)
    layers = ("stem", *model.network.layers)
    best = 0.0
    for count in range(FIRST, len(layers)):
        graph = _quantized(graph_of(folded, shape), calibration, count)
        left = (*layers[:count], *_WHOLE)
        for rest in _rests():
            share = float(np.mean(_labels(_network(graph, rest, folded), checking) == expected))
            tell(f"labels agree with float32 on {share:.3%} of {len(checking)} patches; in {rest}: {', '.join(left)}")
            if share >= floor:
                return _with_files(graph, Int8("", "", (shape[-2], shape[-1]), rest, share, len(checking)), left)
            best = max(best, share)
    raise PipelineError(
        f"model {model.card.name}: labels of int8 agree with float32 on at most {best:.3%} of the pixels, "
        f"but --agreement is {floor:.3%}; give a smaller one, or run in bfloat16"
    )


def _quiet() -> None:
    """Leave stdout to this program: what NNCF has to say are warnings, on stderr."""
    log = logging.getLogger("nncf")
    log.setLevel(logging.WARNING)
    for handler in log.handlers:
        if type(handler) is logging.StreamHandler:  # its own; those of other kinds write elsewhere
            handler.setStream(sys.stderr)


def _with_files(graph: Graph, form: Int8, left: tuple[str, ...]) -> QuantizedModel:
    with tempfile.TemporaryDirectory() as folder:
        save_graph(graph, Path(folder))
        files = {name: (Path(folder) / name).read_bytes() for name in (INT8_GRAPH, INT8_WEIGHTS)}
    digests = (hashlib.sha256(data).hexdigest() for data in files.values())
    return QuantizedModel(replace(form, xml_sha256=next(digests), bin_sha256=next(digests)), files, left)


def _network(graph: Graph, rest: str, folded: FoldedPSPNet) -> OpenVINONetwork:
    return OpenVINONetwork(lambda _: graph, rest, 1, align_corners=folded.align_corners)


def _rests() -> tuple[Literal["float32", "bfloat16"], ...]:
    return ("bfloat16", "float32") if fast_in_bf16("cpu") else ("float32",)


def _quantized(graph: Graph, calibration: Sequence[Tensor], count: int) -> Graph:
    """The graph in int8, without its first `count` layers."""
    first = [rf".*\.folded\.backbone\.{i}[./].*" for i in range(count)]
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bars
        return nncf.quantize(
            graph,
            nncf.Dataset([image.numpy() for image in calibration]),
            subset_size=len(calibration),
            ignored_scope=nncf.IgnoredScope(types=["MatMul"], patterns=[*_ALWAYS, *first], validate=False),
            advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True),
        )


@torch.inference_mode()
def _labels(network: Network, images: Sequence[Tensor]) -> NDArray[np.uint8]:
    return np.stack([network(image)[0].argmax(0).numpy().astype(np.uint16) for image in images])
