"""What an ONNX file says of itself: inputs, outputs, operators, metadata, and where its weights are. Nothing is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from pipeline.errors import ModelError, first_of, size_text
from pipeline.files.signatures import ONNX, unlike
from pipeline.models.hub.address import cache_of

LARGEST = (1 << 31) - 1
"""Bytes of a protocol buffer, at most: larger networks have their weights in files beside."""
OLDEST = 7
"""Opset below which ONNX Runtime promises nothing."""
STANDARD = ("", "ai.onnx")
"""Names of the domain of the standard operators."""
_OTHERS = ("com.microsoft", "ai.onnx.ml")
"""Domains of operators that ONNX Runtime has beside the standard's."""
_RESERVED = ("card.json", "model.safetensors", "network.onnx")
"""Names of other files in the folder of a model."""
_PASSING = ("Identity", "Cast", "Transpose", "Resize", "Upsample", "Squeeze", "Unsqueeze", "Reshape", "Slice", "Clip")
"""Operators that leave scores what they are."""
_HALF_BYTES = ("INT4", "UINT4", "FLOAT4E2M1")
"""Types of numbers of which two are stored in a byte."""

Side = int | str | None
"""Length of an axis: fixed, named, or unknown."""


@dataclass(frozen=True)
class Port:
    """An input or an output of a graph."""

    name: str
    kind: str
    """Type of its numbers, such as "float" or "int64"; empty: it is no tensor."""
    shape: tuple[Side, ...]

    def __str__(self) -> str:
        sides = ", ".join("?" if side is None else str(side) for side in self.shape)
        return f"{self.name} ({self.kind or 'no tensor'}{': ' if sides else ''}{sides})"


@dataclass(frozen=True)
class Graph:
    """What an ONNX file says of itself."""

    path: Path
    opset: int
    """Version of the standard operators."""
    producer: str
    inputs: tuple[Port, ...]
    """Without those that have a value in the file."""
    outputs: tuple[Port, ...]
    metadata: Mapping[str, str]
    data: tuple[str, ...]
    """Files beside it that hold weights, by their paths in its folder."""
    operators: frozenset[str]
    """Names of the operators, with their domains if those are not the standard's."""
    unknown: tuple[str, ...]
    """Operators that are neither in the standard nor functions of the file."""
    last: Mapping[str, str]
    """By output: the operator that makes its values, before what only moves or resizes them."""
    kernels: tuple[int, ...]
    """Channels that the first convolution reads; empty: there is none."""

    @property
    def size(self) -> int:
        """Bytes of the file and of those beside it."""
        return sum(path.stat().st_size for path in (self.path, *(self.path.parent / name for name in self.data)))


def read_graph(path: Path) -> Graph:
    """Read an ONNX file; weights in files beside it are checked and left there.

    Raises:
        ModelError: if it is none, is damaged, or its weights are missing, cut off or outside of its folder.

    """
    model = _parsed(path)
    graph, own = model.graph, {tensor.name for tensor in model.graph.initializer}
    functions = {(function.domain, function.name) for function in model.functions}
    nodes = list(_nodes(graph))
    found = Graph(
        path=path,
        opset=next((entry.version for entry in model.opset_import if entry.domain in STANDARD), 0),
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        inputs=tuple(_port(value) for value in graph.input if value.name not in own),
        outputs=tuple(map(_port, graph.output)),
        metadata={entry.key: entry.value for entry in model.metadata_props},
        data=_data(path, model),
        operators=frozenset(_name(node) for node in nodes),
        unknown=tuple(sorted({_name(node) for node in nodes if not _is_known(node, functions)})),
        last={value.name: _last(graph, value.name) for value in graph.output},
        kernels=_kernels(graph),
    )
    if not found.outputs or not found.inputs:
        raise ModelError(f"{path}: has no {'inputs' if found.outputs else 'outputs'}, so it is no network")
    return found


def _parsed(path: Path) -> onnx.ModelProto:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    if (kind := unlike(path, ONNX)) is not None:
        raise ModelError(f"{path}: is {kind.name}, not an ONNX network; {kind.cure}")
    if size > LARGEST:
        raise ModelError(
            f"{path}: has {size_text(size)}, but a file of ONNX has at most {size_text(LARGEST)}; save it with its "
            "weights in a file beside it, e.g. onnx.save(model, path, save_as_external_data=True)"
        )
    try:
        model = onnx.load_model(path, format="protobuf", load_external_data=False)
    except (DecodeError, ValueError, OSError) as error:
        raise ModelError(f"{path}: is no whole ONNX network: it is damaged, cut off or something else") from error
    if not model.ir_version or not model.graph.node:
        raise ModelError(f"{path}: is no whole ONNX network: it has no graph of operators")
    return model


def _port(value: onnx.ValueInfoProto) -> Port:
    tensor = value.type.tensor_type
    kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower() if tensor.elem_type else ""
    return Port(value.name, kind, tuple(map(_side, tensor.shape.dim)))


def _side(dimension: Any) -> Side:  # noqa: ANN401  (of a protocol buffer)
    if dimension.WhichOneof("value") == "dim_value":
        return int(dimension.dim_value) if dimension.dim_value > 0 else None
    return str(dimension.dim_param) or None


def _graphs(nodes: Any) -> Iterator[onnx.GraphProto]:  # noqa: ANN401
    for node in nodes:
        for attribute in node.attribute:
            yield from (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs)


def _nodes(graph: Any) -> Iterator[onnx.NodeProto]:  # noqa: ANN401
    """Yield all nodes of a graph or a function, and those of branches and loops."""
    yield from graph.node
    for inner in _graphs(graph.node):
        yield from _nodes(inner)


def _tensors(graph: Any) -> Iterator[onnx.TensorProto]:  # noqa: ANN401
    """Yield all weights and constants of a graph or a function."""
    if isinstance(graph, onnx.GraphProto):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
    for inner in _graphs(graph.node):
        yield from _tensors(inner)


def _name(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in STANDARD else f"{node.domain}:{node.op_type}"


def _is_known(node: onnx.NodeProto, functions: set[tuple[str, str]]) -> bool:
    domain = "" if node.domain in STANDARD else node.domain
    if domain in _OTHERS or (node.domain, node.op_type) in functions:
        return True
    return domain == "" and bool(onnx.defs.has(node.op_type, domain))


def _last(graph: onnx.GraphProto, name: str) -> str:
    makers = {output: node for node in graph.node for output in node.output}
    for _ in graph.node:  # no more steps than that, or a damaged graph has none that ends
        node = makers.get(name)
        if node is None or node.op_type not in _PASSING or not node.input:
            return "" if node is None else str(node.op_type)
        name = node.input[0]
    return ""


def _kernels(graph: onnx.GraphProto) -> tuple[int, ...]:
    weights = {tensor.name: tensor for tensor in graph.initializer}
    read = [node for node in graph.node if node.op_type == "Conv" and len(node.input) > 1]
    first = next((node for node in read if node.input[1] in weights), None)
    if first is None or len(weights[first.input[1]].dims) < 2:
        return ()
    groups = next((attribute.i for attribute in first.attribute if attribute.name == "group"), 1)
    return (int(weights[first.input[1]].dims[1]) * groups,)


def _data(path: Path, model: onnx.ModelProto) -> tuple[str, ...]:
    """Return the files beside an ONNX file that hold its weights, each checked."""
    ends: dict[str, int] = {}
    for part in (model.graph, *model.functions):
        for tensor in _tensors(part):
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                name, end = _place(path, tensor)
                ends[name] = max(end, ends.get(name, 0))
    for name, end in ends.items():
        check_data_file(path, name, end)
    return tuple(sorted(ends))


def _place(path: Path, tensor: onnx.TensorProto) -> tuple[str, int]:
    """Return the file of a tensor, and where the tensor ends in it."""
    told = {entry.key: entry.value for entry in tensor.external_data}
    try:
        start, least = int(told.get("offset", 0)), _bytes_of(tensor)
        length = int(told.get("length", least))
    except ValueError as error:
        raise ModelError(f"{path}: the place of {tensor.name} in a file beside it is no number ({error})") from error
    if min(start, length) < 0 or length < least:
        raise ModelError(
            f"{path}: {tensor.name} takes {size_text(least)}, but is said to be {length} bytes from {start} in a file"
        )
    return told.get("location", ""), start + length


def _bytes_of(tensor: onnx.TensorProto) -> int:
    try:
        item = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except KeyError:
        return 0
    halved = onnx.TensorProto.DataType.Name(tensor.data_type) in _HALF_BYTES
    return int(prod(tensor.dims) * item) // (2 if halved else 1)


def check_data_file(path: Path, name: str, least: int = 0) -> None:
    """Raise ModelError unless the data of an ONNX file are in a whole file in its folder, of at least so many bytes."""
    folder, parts = path.parent, PurePosixPath(name).parts
    if not parts or name.startswith(("/", "\\")) or ".." in parts or ":" in name or "\\" in name:
        raise ModelError(f"{path}: has weights in {name!r}, which is not in its folder; only files in it are read")
    if name in _RESERVED:
        raise ModelError(f"{path}: has weights in {name}, which is the name of another file of a model; rename it")
    file = folder / name
    if not file.exists():
        raise ModelError(f"{path}: has weights in {name}, which is not there; put that file into {folder}")
    within = cache_of(file) or folder  # a hub's client links files of a model to what it keeps of the repository
    if not file.resolve().is_relative_to(within.resolve()):
        raise ModelError(f"{path}: has weights in {name}, a link out of its folder; put the file itself there")
    if not file.is_file() or (size := file.stat().st_size) < least:
        has = "is no file" if not file.is_file() else f"has {size:,} bytes of the {least:,} that it needs"
        raise ModelError(f"{path}: has weights in {name}, which {has}; it is cut off: fetch it again")


def check_operators(graph: Graph) -> None:
    """Raise ModelError for operators that are not in ONNX, or so old that nothing computes them any more."""
    if graph.opset < OLDEST:
        raise ModelError(
            f"{graph.path}: is of opset {graph.opset}, but ONNX Runtime computes {OLDEST} and later; export it again "
            "with opset_version=17"
        )
    if graph.unknown:
        raise ModelError(
            f"{graph.path}: uses operators that are not in ONNX: {first_of(graph.unknown)}; export it again with "
            "standard operators alone"
        )
