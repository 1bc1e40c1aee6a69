"""Choose the device of networks in ONNX files; they compute in the numbers that they were exported in."""

from __future__ import annotations

from pipeline.errors import RequestError
from pipeline.models.exchange.session import computes_on
from pipeline.models.inference.device import choose_device
from pipeline.models.inference.numerics import Numerics


def _choose_device(asked: str | None) -> str:
    """Return the requested device, or a CUDA GPU if ONNX Runtime can use one here, else the CPU.

    Raises:
        RequestError: for a device that ONNX Runtime cannot use.

    """
    device = choose_device(asked)
    if computes_on(device):
        return device
    if asked is None:
        return "cpu"
    raise RequestError(
        f"--device {asked}: ONNX Runtime computes on the CPU alone here; give --device cpu"
        + (", or install onnxruntime-gpu in the place of onnxruntime" if device.startswith("cuda") else "")
    )


def choose_onnx_numerics(device: str | None, precision: str | None, runtime: str | None) -> Numerics:
    """Return the numerics of a run whose networks are all in ONNX files.

    Raises:
        RequestError: for a precision or a runtime that they cannot be computed in.

    """
    if precision not in (None, "float32"):
        raise RequestError(
            f"--precision {precision}: an ONNX network is computed in the numbers that it was exported in; leave "
            "--precision out"
        )
    if runtime not in (None, "onnx"):
        raise RequestError(f"--runtime {runtime}: an ONNX network is run by ONNX Runtime; leave --runtime out")
    return Numerics(_choose_device(device), "float32", "onnx")
