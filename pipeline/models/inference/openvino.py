"""The room of OpenVINO: a folded network, or a model's form in int8, computed on the cores of a CPU."""

from __future__ import annotations

import sys
import warnings
from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pipeline.models.card import Int8
from pipeline.models.catalogue import INT8_GRAPH, INT8_WEIGHTS, find_model
from pipeline.models.inference.fit import int8_form
from pipeline.models.inference.numerics import Numerics
from pipeline.models.networks.folded import FoldedPSPNet, resized
from pipeline.models.store import Model, check_sha256

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it would report each import over the net
import openvino as ov  # noqa: E402

Shape = tuple[int, ...]
Graph = Any
"""A network as OpenVINO describes it: image to coarse scores."""
_HINTS = {"float32": "f32", "bfloat16": "bf16"}


class _Compiled(NamedTuple):
    network: Any
    idle: deque[Any]
    """Requests that no call is using; each holds room for one image and its scores."""


class OpenVINONetwork:
    """A network in OpenVINO, compiled for each shape of its input by the first call that brings it.

    A call computes on one thread, however many there are; up to `callers` calls run side by side and share the weights.
    Scores are resized outside, in float32.
    """

    def __init__(self, graph_for: Callable[[Shape], Graph], rest: str, callers: int, *, align_corners: bool) -> None:
        """Compute what `graph_for` gives for a shape, in int8 where it says so and in `rest` elsewhere."""
        self._graph_for = graph_for
        self._align_corners = align_corners
        self._settings = {
            "INFERENCE_PRECISION_HINT": _HINTS[rest],
            "INFERENCE_NUM_THREADS": callers,
            "NUM_STREAMS": callers,
            "ENABLE_CPU_PINNING": False,  # processes would all choose the same core
        }
        self._compiled: dict[Shape, _Compiled] = {}
        self._lock = Lock()

    def __call__(self, image: Tensor) -> Tensor:
        """Scores of an image."""
        network, idle = self._for(tuple(image.shape))
        try:
            request = idle.pop()
        except IndexError:
            request = network.create_infer_request()
        try:
            request.infer({0: image.contiguous().numpy()})
            coarse = torch.from_numpy(request.get_output_tensor(0).data.copy())
        finally:
            idle.append(request)
        return resized(coarse, image, align_corners=self._align_corners)

    def _for(self, shape: Shape) -> _Compiled:
        if shape not in self._compiled:
            with self._lock:
                if shape not in self._compiled:
                    network = ov.Core().compile_model(self._graph_for(shape), "CPU", self._settings)
                    self._compiled[shape] = _Compiled(network, deque())
        return self._compiled[shape]


def build_openvino(model: Model, numerics: Numerics, callers: int) -> OpenVINONetwork:
    """Build the network of `model` in OpenVINO.

    Raises:
        ModelError: for int8, if the model has no such form, or a damaged one.

    """
    align_corners = model.network.spec.align_corners
    if numerics.precision != "int8":
        folded = FoldedPSPNet(model.network)
        return OpenVINONetwork(
            lambda shape: graph_of(folded, shape), numerics.precision, callers, align_corners=align_corners
        )
    form = int8_form(model.card, model.card.patch if model.card.int8 is None else model.card.int8.patch)
    graph = _stored(model.path, form)

    def graph_for(shape: Shape) -> Graph:
        int8_form(model.card, (shape[-2], shape[-1]))
        return graph

    return OpenVINONetwork(graph_for, form.rest, callers, align_corners=align_corners)


def graph_of(folded: FoldedPSPNet, shape: Shape) -> Graph:
    """A folded network, up to its coarse scores, for images of `shape`."""
    example = torch.zeros(shape)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sizes become constants, as they should
        folded.coarse(example)  # fills the basis, which becomes one too
        traced = torch.jit.trace(_Coarse(folded), example, check_trace=False)  # type: ignore[no-untyped-call]
        return ov.convert_model(traced, example_input=example, input=list(shape))


def save_graph(graph: Graph, folder: Path) -> None:
    """Write a graph as `int8.xml` and `int8.bin`, its float weights as they are."""
    ov.save_model(graph, folder / INT8_GRAPH, compress_to_fp16=False)


def _stored(weights: Path, form: Int8) -> Graph:
    graph, numbers = weights.with_name(INT8_GRAPH), weights.with_name(INT8_WEIGHTS)
    card = find_model(weights).card
    check_sha256(graph, form.xml_sha256, card)
    check_sha256(numbers, form.bin_sha256, card)
    return ov.Core().read_model(graph, numbers)


class _Coarse(nn.Module):
    def __init__(self, folded: FoldedPSPNet) -> None:
        super().__init__()
        self.folded = folded

    def forward(self, image: Tensor) -> Tensor:
        return self.folded.coarse(image)
