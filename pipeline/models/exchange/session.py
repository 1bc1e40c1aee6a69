"""The room of ONNX Runtime: a network in an ONNX file, computed so that the same patch always gives the same bytes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.models.exchange.graph import Graph, check_operators

VERSION: str = ort.__version__
_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_SILENT = 4
"""Level of the log: what is wrong is raised."""
_PLACE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : |\S*/onnxruntime\S*/.*?\) (?=[A-Z])")
"""What stands before the words of an error: its code, and where it is in the source of ONNX Runtime."""
_NEWEST = re.compile(r"till opset (\d+)")
_LONGEST = 300


def open_session(graph: Graph, device: str = "cpu") -> Any:  # noqa: ANN401  (an InferenceSession)
    """Open the network of a graph for calls from many threads, each of which computes on one.

    The number of threads decides in which order sums are taken, so it is one; speed comes from calls side by side.

    Raises:
        ModelError: if ONNX Runtime cannot compute it.

    """
    check_operators(graph)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.enable_cpu_mem_arena = False  # what a call needed goes back to the system
    options.log_severity_level = _SILENT
    try:
        session = ort.InferenceSession(str(graph.path), options, providers=_providers_for(device))
    except Exception as error:  # ONNX Runtime has no class of errors of its own
        raise ModelError(f"{graph.path}: ONNX Runtime {VERSION} cannot compute this network: {_told(error)}") from error
    if device != "cpu" and _CUDA not in session.get_providers():
        raise ModelError(
            f"{graph.path}: ONNX Runtime {VERSION} cannot use {device}: its CUDA libraries do not load; give --device "
            "cpu, or install those that it was built for"
        )
    return session


def computes_on(device: str) -> bool:
    """Return whether ONNX Runtime can compute on a device of torch here."""
    kind = device.partition(":")[0]
    return kind == "cpu" or (kind == "cuda" and _CUDA in ort.get_available_providers())


def _providers_for(device: str) -> list[Any]:
    """Return what computes there; on a GPU, algorithms that are not chosen by their speed of the moment."""
    if device == "cpu":
        return [_CPU]
    number = int(device.partition(":")[2] or 0)
    return [(_CUDA, {"device_id": number, "cudnn_conv_algo_search": "DEFAULT", "use_tf32": 0}), _CPU]


def run(session: Any, name: str, output: str, values: NDArray[Any]) -> NDArray[Any]:  # noqa: ANN401
    """Return an output of a network for values of its input `name`.

    Raises:
        ArithmeticError: with the words of ONNX Runtime, if it cannot compute them.

    """
    try:
        (found,) = session.run([output], {name: values})
    except Exception as error:
        raise ArithmeticError(_told(error)) from error
    return np.asarray(found)


def _told(error: Exception) -> str:
    """Return what ONNX Runtime says in one line."""
    words = _PLACE.sub("", " ".join(f"{error}".split()))
    if newest := _NEWEST.search(words):
        return f"its opset is newer than {newest[1]}; export it again with opset_version={newest[1]} or less"
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."
