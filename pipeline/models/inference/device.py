"""Choose the device, precision and runtime of inference."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import Any, get_args

import torch

from pipeline.errors import RequestError
from pipeline.models.inference.numerics import Numerics, Precision, Runtime

NEWEST_TESTED = (2, 13)
"""Version of torch whose bfloat16 convolutions were last looked at: later builds have some that are scalar."""
WORTH_COMPILING = 1e15
"""FLOP above which compiling pays off where convolutions are not fused.

That is about twenty minutes on two cores, of which it saves a twentieth.
"""
_DEVICES = "cpu, cuda, cuda:1 or mps"
_CONVOLUTIONS = ((1, 1), (2, 1), (1, 64))
"""Dilation and groups of the kinds that networks here are made of: plain, dilated, and channel by channel."""


def choose_device(asked: str | None) -> str:
    """Return the requested device, or a CUDA GPU if there is one, else the CPU. A Metal GPU has to be requested.

    Raises:
        RequestError: for a name that is no device for networks, or a GPU that does not exist.

    """
    if asked is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise RequestError(f"--device {asked}: not a device of torch; give {_DEVICES}") from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise RequestError(f"--device {asked}: networks do not run there; give {_DEVICES}")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise RequestError(f"--device {asked}: torch has no Metal GPU here; give cpu, or a torch built for macOS")
    if device.type != "cuda":
        return device.type
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        raise RequestError(
            f"--device {asked}: torch can use {count} GPUs here; give cpu, or check the CUDA installation"
        )
    return asked


def choose_numerics(
    device: str | None = None, precision: str | None = None, runtime: str | None = None, flop: float = 0.0
) -> Numerics:
    """Return the requested numerics; where nothing is requested, what suits this machine and a run of `flop` FLOP.

    The same machine and run give the same answer.

    Raises:
        RequestError: with the way out, for what is not available.

    """
    where = choose_device(device)
    _check_known("--precision", precision, get_args(Precision))
    _check_known("--runtime", runtime, get_args(Runtime))
    if runtime == "onnx":
        raise RequestError("--runtime onnx: is for models whose networks are ONNX files; leave it out for a PSPNet")
    if (precision == "int8" and runtime is None) or runtime == "openvino":
        return _openvino(where, precision)
    if precision == "int8":
        raise RequestError(f"--precision int8 needs --runtime openvino, got --runtime {runtime}")
    numbers = _floats(where, precision)
    if runtime == "compiled" and not compiler():
        raise RequestError("--runtime compiled: no C++ compiler found; install g++, or set CXX")
    fusible = where == "cpu" and numbers == "bfloat16" and fast_in_bf16(where)
    if runtime == "compiled" or (runtime is None and not fusible and _repays_compiling(where, flop)):
        return Numerics(where, numbers, "compiled")
    return Numerics(where, numbers, "torch", fused=fusible)


def _repays_compiling(device: str, flop: float) -> bool:
    return device == "cpu" and flop >= WORTH_COMPILING and compiler() is not None


def fast_in_bf16(device: str) -> bool:
    """Return whether convolutions in bfloat16 are fast on a device; the same answer in every process on a machine.

    A CPU needs AMX or AVX-512 BF16, and a torch that uses it: one that was tested, and whose convolutions are those of
    oneDNN. They are not timed, for a busy machine would change the answer. Of Metal GPUs nothing is known.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return kind == "cpu" and has_bf16() and _version() <= NEWEST_TESTED and all(map(_in_onednn, _CONVOLUTIONS))


def has_bf16() -> bool:
    """Return whether the processor has instructions for convolutions in bfloat16: AMX or AVX-512 BF16."""
    has = torch.cpu.get_capabilities()
    return bool(has.get("amx_bf16") or has.get("avx512_bf16"))


def _version() -> tuple[int, ...]:
    return tuple(int(part) for part in torch.__version__.split(".")[:2])


def _in_onednn(convolution: tuple[int, int]) -> bool:
    """Return whether torch hands a convolution in bfloat16, of a dilation and groups, to oneDNN; it is not computed."""
    dilation, groups = convolution
    image = torch.empty((1, 64, 32, 32), dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    weight = torch.empty((64, 64 // groups, 3, 3), dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    sizes = [1, 1], [0, 0], [dilation] * 2, False, [0, 0], groups
    backend: Any = torch._C._select_conv_backend(image, weight, None, *sizes)
    return bool(backend.name == "Mkldnn")


def compiler() -> str | None:
    """Return the C++ compiler that torch would call, or None."""
    return shutil.which(os.environ.get("CXX", "g++"))


def check_extra(library: str, otherwise: str) -> None:
    """Raise RequestError if a library of the extra `openvino` is not installed; `otherwise` is the other way out."""
    if find_spec(library) is None:
        raise RequestError(f"{library} is not installed; pip install 'pipeline[openvino]', or {otherwise}")


def _openvino(device: str, precision: str | None) -> Numerics:
    if device != "cpu":
        raise RequestError(f"--runtime openvino computes on the CPU; give --device cpu, got {device}")
    check_extra("openvino", "leave --runtime and --precision out")
    if precision == "int8":
        return Numerics("cpu", "int8", "openvino")
    return Numerics("cpu", _floats(device, precision), "openvino")


def _floats(device: str, precision: str | None) -> Precision:
    """The floats to compute in: those asked for, else bfloat16 where it is fast."""
    fast = precision == "bfloat16" or (precision is None and fast_in_bf16(device))
    return "bfloat16" if fast else "float32"


def _check_known(option: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise RequestError(f"{option} {value}: must be one of {', '.join(known)}")
