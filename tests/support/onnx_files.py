"""Small networks in ONNX files, written node by node."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Side = int | str


def put_network(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, NDArray[Any]] = {},
    *,
    shape: Sequence[Side] = ("n", 3, "h", "w"),
    outputs: Sequence[str] = ("y",),
    kind: int = TensorProto.FLOAT,
    made: int = TensorProto.FLOAT,
    opset: int = 17,
    domains: Sequence[str] = (),
    metadata: Mapping[str, Any] = {},
    beside: str | None = None,
) -> Path:
    """Write a network with the input x; its weights into the file `beside`, if there is one."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [helper.make_tensor_value_info(name, made, None) for name in outputs],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    imports = [helper.make_opsetid(domain, opset if not domain else 1) for domain in ("", *domains)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8, producer_name="tests")
    helper.set_model_props(model, {key: json.dumps(value) for key, value in metadata.items()})
    told = {} if beside is None else {"save_as_external_data": True, "location": beside, "size_threshold": 0}
    onnx.save_model(model, path, **told)
    return path


def node(name: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """Return a node by the names of its tensors, with spaces between them."""
    return helper.make_node(name, inputs.split(), outputs.split(), **attributes)


def put_convolution(path: Path, *, channels: int = 3, planes: int = 3, then: str = "", **options: Any) -> Path:
    """Write a 3x3 convolution, and an operator after it; with `stride` its output is smaller."""
    stride, seed = options.pop("stride", 1), options.pop("seed", 0)
    weight = np.random.default_rng(seed).standard_normal((planes, channels, 3, 3)).astype(np.float32) / 5
    nodes = [node("Conv", "x w", "c" if then else "y", pads=[1, 1, 1, 1], strides=[stride, stride])]
    if then:
        nodes.append(node(then, "c", "y", **({} if then in ("Sigmoid", "Relu") else {"axis": 1})))
    return put_network(path, nodes, {"w": weight}, **{"shape": ("n", channels, "h", "w"), **options})


def put_unet(path: Path, *, channels: int = 2, planes: int = 3, **options: Any) -> Path:
    """Write a U-Net of two levels: what is seen at half the size is put beside what is seen at the whole."""
    rng = np.random.default_rng(options.pop("seed", 0))
    shapes = {"first": (8, channels, 3, 3), "deep": (8, 8, 3, 3), "up": (8, 8, 2, 2), "last": (planes, 16, 1, 1)}
    weights = {name: rng.standard_normal(shape).astype(np.float32) / 4 for name, shape in shapes.items()}
    nodes = [
        node("Conv", "x first", "a", pads=[1, 1, 1, 1]),
        node("Relu", "a", "skip"),
        node("MaxPool", "skip", "half", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "half deep", "b", pads=[1, 1, 1, 1]),
        node("Relu", "b", "seen"),
        node("ConvTranspose", "seen up", "whole", strides=[2, 2]),
        node("Concat", "skip whole", "both", axis=1),
        node("Conv", "both last", "y"),
    ]
    return put_network(path, nodes, weights, **{"shape": ("n", channels, "h", "w"), **options})
