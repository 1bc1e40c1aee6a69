"""The room of OpenVINO: a folded network, or a model's form in int8, computed on the cores of a CPU."""

from __future__ import annotations

import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import ModelError
from pipeline.models.card import Card, Int8
from pipeline.models.catalogue import INT8_GRAPH, INT8_WEIGHTS, find_model
from pipeline.models.inference.fit import int8_form
from pipeline.models.inference.halves import Halves
from pipeline.models.inference.numerics import Numerics
from pipeline.models.networks.folded import FoldedPSPNet, resized
from pipeline.models.networks.inverted_residual import SameConv2d
from pipeline.models.networks.patch_head import PatchHead
from pipeline.models.store import Model, check_sha256

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it would report each import over the net
import openvino as ov  # noqa: E402
import openvino.opset13 as opset  # noqa: E402

Shape = tuple[int, ...]
Graph = Any
"""A network as OpenVINO describes it: image to coarse scores."""
_FIRST = ".folded.first/aten::_convolution/"
"""In names, before the parts of the head's first convolution: "Convolution", and "Add" unless its biases are all 0."""
_DETAIL = ".folded.decoder.last/aten::_convolution/"
"""Likewise of the last convolution of a decoder."""
_HINTS = {"float32": "f32", "bfloat16": "bf16"}


class _Compiled:
    """A graph compiled for images of one shape, or of any; calls side by side share its weights."""

    def __init__(self, graph: Graph, settings: Mapping[str, Any]) -> None:
        self._network = ov.Core().compile_model(graph, "CPU", dict(settings))
        self._idle: deque[Any] = deque()
        """Requests that no call is using; each holds room for one image and what it gives."""

    @contextmanager
    def __call__(self, image: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Give its outputs for an image, which are valid inside the block: they are the memory of a request."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._network.create_infer_request()
        try:
            request.infer({0: image.contiguous().numpy()}, share_inputs=True)
            yield tuple(torch.from_numpy(tensor.data) for tensor in request.output_tensors)
        finally:
            self._idle.append(request)


class OpenVINONetwork:
    """A network in OpenVINO, compiled for each shape of its input by the first call that brings it.

    A call computes on one thread, however many there are; up to `callers` calls run side by side and share the weights.
    Scores are resized outside, in float32.
    """

    def __init__(self, graph_for: Callable[[Shape], Graph], rest: str, callers: int, *, align_corners: bool) -> None:
        """Compute what `graph_for` gives for a shape, in int8 where it says so and in `rest` elsewhere."""
        self._graph_for = graph_for
        self._align_corners = align_corners
        self._settings = _settings(rest, callers)
        self._compiled: dict[Shape, _Compiled] = {}
        self._lock = Lock()

    def __call__(self, image: Tensor) -> Tensor:
        """Scores of an image."""
        with self._for(tuple(image.shape))(image) as (coarse,):
            return resized(coarse, image, align_corners=self._align_corners)

    def _for(self, shape: Shape) -> _Compiled:
        if shape not in self._compiled:
            with self._lock:
                if shape not in self._compiled:
                    self._compiled[shape] = _Compiled(self._graph_for(shape), self._settings)
        return self._compiled[shape]


class OpenVINOTrunk:
    """The trunk of a network in OpenVINO, for blocks of any size; compiled by the first call.

    One compiled network holds the weights once for all sizes. A call computes on one thread.
    """

    def __init__(self, graph: Callable[[], Graph], rest: str, callers: int) -> None:
        """Compute the trunk of the whole network that `graph` gives, in `rest` where it is not in int8."""
        self._graph, self._settings = graph, _settings(rest, callers)
        self._lock = Lock()
        self._compiled: _Compiled | None = None

    @contextmanager
    def __call__(self, image: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Give features and the direct part of the head, channels last."""
        with self._lock:
            if self._compiled is None:
                self._compiled = _Compiled(trunk_of(self._graph()), self._settings)
        with self._compiled(image) as (features, direct):
            yield features.permute(0, 3, 1, 2), direct.permute(0, 3, 1, 2)


def _settings(rest: str, callers: int) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": _HINTS[rest],
        "INFERENCE_NUM_THREADS": callers,
        "NUM_STREAMS": callers,
        "ENABLE_CPU_PINNING": False,  # processes would all choose the same core
    }


def build_openvino(model: Model, numerics: Numerics, callers: int) -> tuple[OpenVINONetwork, Halves]:
    """Build the network of `model` in OpenVINO, whole and in halves; the head of the halves is computed in torch.

    Raises:
        ModelError: for int8, if the model has no such form, or a damaged one.

    """
    folded, spec = FoldedPSPNet(model.network), model.network.spec
    if numerics.precision == "int8":
        form = int8_form(model.card)
        graph, rest = _stored(model.path, form), form.rest
        by_size = any(isinstance(module, SameConv2d) for module in model.network.modules())
        whole, split = partial(_of_patch, model.card, graph), partial(_of_block, model.card, graph, by_size=by_size)
    else:
        rest, side = numerics.precision, 8 * spec.output_stride
        whole, split = partial(graph_of, folded), partial(graph_of, folded, (1, spec.in_channels, side, side))
    network = OpenVINONetwork(whole, rest, callers, align_corners=folded.align_corners)
    return network, Halves(OpenVINOTrunk(split, rest, callers), PatchHead(folded), folded.align_corners)


def _of_patch(card: Card, graph: Graph, shape: Shape) -> Graph:
    """Return the int8 form `graph` for images of the shape that it takes, else raise ModelError."""
    int8_form(card, (shape[-2], shape[-1]))
    return graph


def _of_block(card: Card, graph: Graph, *, by_size: bool) -> Graph:
    """Return the int8 form `graph`; raise ModelError if its padding, which goes `by_size`, is not that of blocks."""
    stride, patch = card.pspnet.output_stride, int8_form(card).patch
    if by_size and any(side % stride for side in patch):
        raise ModelError(
            f"model {card.name}: its int8 form is padded for patches of {patch[0]} x {patch[1]} model pixels, which "
            f"are no multiples of {stride}, so they cannot share features; give --features patch"
        )
    return graph


def graph_of(folded: FoldedPSPNet, shape: Shape) -> Graph:
    """A folded network, up to its coarse scores, for images of `shape`."""
    example = torch.zeros(shape)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sizes become constants, as they should
        folded.coarse(example)  # fills the basis, which becomes one too
        traced = torch.jit.trace(_Coarse(folded), example, check_trace=False)  # type: ignore[no-untyped-call]
        return ov.convert_model(traced, example_input=example, input=list(shape))


def trunk_of(graph: Graph) -> Graph:
    """Return what a graph of `graph_of` computes cell by cell, for images of any size: features and the direct part.

    Both are channels last: `(1, h / output_stride, w / output_stride, c)`.

    Raises:
        ModelError: if the graph has no head of that name.

    """
    own = graph.clone()
    found = _parts_of(own, _FIRST)
    if "Convolution" not in found:
        raise ModelError("the network has no part for shared features; make it anew with `pipeline quantize`")
    direct = _sum(found)
    features = found["Convolution"].input_value(0)
    if features.get_node().get_type_name() == "FakeQuantize":
        features = features.get_node().input_value(0)
    if detail := _parts_of(own, _DETAIL):
        direct = _packed(direct, _sum(detail))
    trunk = ov.Model([features, direct], own.get_parameters())
    trunk.reshape([1, own.input(0).partial_shape[1], -1, -1])
    layout = ov.preprocess.PrePostProcessor(trunk)
    for number in range(2):
        layout.output(number).model().set_layout(ov.Layout("NCHW"))
        layout.output(number).tensor().set_layout(ov.Layout("NHWC"))
    return layout.build()


def _parts_of(graph: Graph, convolution: str) -> dict[str, Any]:
    """Return the nodes of a convolution by the ends of their names."""
    named = ((node.get_friendly_name().partition(convolution), node) for node in graph.get_ordered_ops())
    return {part: node for (_, found, part), node in named if found}


def _sum(parts: Mapping[str, Any]) -> Any:  # noqa: ANN401  (an output of a graph)
    """Return what a convolution gives, its biases added."""
    return parts.get("Add", parts["Convolution"]).output(0)


def _packed(direct: Any, detail: Any) -> Any:  # noqa: ANN401
    """Do what `packed` of the folded network does."""
    times = detail.get_shape()[2] // direct.get_shape()[2]
    cells = opset.space_to_depth(detail, "depth_first", times)
    return opset.concat([direct, cells], 1).output(0)


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
