"""A network in an ONNX file as one of torch: images in, scores before the softmax out, at the size of the images."""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline.models.exchange.graph import Graph, read_graph
from pipeline.models.exchange.session import open_session, run
from pipeline.models.spec import Layout, ONNXSpec
from pipeline.models.store import ONNXModel

TYPES: dict[str, type[np.generic]] = {
    "float": np.float32,
    "float16": np.float16,
    "double": np.float64,
    "uint8": np.uint8,
}
"""What images may be given as, by the words of ONNX."""
TINY = float(np.finfo(np.float32).tiny)
"""Probability that is taken for 0."""


class ONNXNetwork:
    """A network in an ONNX file; may be called from many threads at once.

    A call takes images `(n, in_channels, h, w)`, float32, and returns scores `(n, classes, h, w)`, float32, on the same
    device. They are logits: probabilities are brought to their logarithms, of which the softmax is what they were.
    """

    def __init__(self, spec: ONNXSpec, graph: Graph, device: str = "cpu") -> None:
        """Open the network of `graph`, which has the input and the output of `spec`."""
        self._spec = spec
        self._kind = TYPES[next(port.kind for port in graph.inputs if port.name == spec.input)]
        self._session = open_session(graph, device)

    def __call__(self, image: Tensor) -> Tensor:
        """Scores of images."""
        count = self._spec.batch
        parts = [self._filled(part, count) for part in torch.split(image, count)] if count else [self._planes(image)]
        scores = logits_of(torch.cat(parts), self._spec, (int(image.shape[2]), int(image.shape[3])))
        return scores.to(image.device)

    def _filled(self, part: Tensor, count: int) -> Tensor:
        """Planes of images that are fewer than a call takes: the last is repeated."""
        rest = part[-1:].expand(count - len(part), *part.shape[1:])
        return self._planes(torch.cat([part, rest]))[: len(part)]

    def _planes(self, image: Tensor) -> Tensor:
        values = as_input(image.cpu().numpy(), self._kind, self._spec.layout)
        found = run(self._session, self._spec.input, self._spec.output, values)
        return as_planes(found, self._spec.output_layout)


def build_onnx(model: ONNXModel, device: str) -> ONNXNetwork:
    """Open the network of a model on a device.

    Raises:
        ModelError: if its files are damaged, or ONNX Runtime cannot compute it.

    """
    return ONNXNetwork(model.spec, read_graph(model.path), device)


def as_input(image: NDArray[np.float32], kind: type[np.generic], layout: Layout) -> NDArray[Any]:
    """Return images `(n, channels, h, w)` in the type and order of axes that a network takes."""
    ordered = image if layout == "channels_first" else image.transpose(0, 2, 3, 1)
    if np.issubdtype(kind, np.integer):
        ordered = ordered.round().clip(0, np.iinfo(kind).max)  # type: ignore[type-var]
    return np.ascontiguousarray(ordered, kind)


def as_planes(found: NDArray[Any], layout: Layout) -> Tensor:
    """Return an output as planes `(n, planes, h, w)`: floats in float32, whole numbers as they are."""
    planes = found[:, None] if found.ndim == 3 else found if layout == "channels_first" else found.transpose(0, 3, 1, 2)
    whole = np.issubdtype(planes.dtype, np.integer) or planes.dtype == np.bool_
    return torch.from_numpy(np.ascontiguousarray(planes, np.int64 if whole else np.float32))


def logits_of(planes: Tensor, spec: ONNXSpec, size: tuple[int, int]) -> Tensor:
    """Return logits `(n, classes, h, w)` of planes, at a height and width."""
    if spec.scores == "labels":
        return _of_labels(planes, spec.classes, size)
    if planes.shape[2:] != size:
        planes = functional.interpolate(planes, size, mode="bilinear", align_corners=spec.align_corners)
    logits = planes if spec.scores == "logits" else planes.clamp(min=TINY).log()
    if spec.threshold is None:
        return logits
    if spec.scores == "probabilities":
        logits = logits - (1 - planes).clamp(min=TINY).log()
    least = log(spec.threshold / (1 - spec.threshold))
    return torch.cat([torch.zeros_like(logits), logits - least], 1)


def _of_labels(labels: Tensor, classes: int, size: tuple[int, int]) -> Tensor:
    """Return logits that are high where a cell is of a class, and low in all others; others than classes have none."""
    if labels.shape[2:] != size:
        labels = functional.interpolate(labels.double(), size, mode="nearest-exact").long()
    known = torch.arange(classes).view(1, -1, 1, 1)
    return torch.where(labels == known, 0.0, log(TINY))
