"""Where torch computes, and in what numbers it is fastest there."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import get_args

import torch

from pipeline.errors import RequestError
from pipeline.models.inference.numerics import Numerics, Precision, Runtime

WORTH_COMPILING = 1e15
"""FLOP from which on a run repays the compiler: some twenty minutes on two cores, of which it saves a twentieth."""


def choose_device(asked: str | None) -> str:
    """The device `asked` for, if it is there; a GPU where there is one, else the CPU, if none is asked for.

    Raises RequestError for a name that torch does not know and for a GPU that is not there.
    """
    if asked is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise RequestError(f"--device {asked}: torch knows no such device; give cpu, cuda or cuda:1") from error
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise RequestError(
            f"--device {asked}: there are {count} GPUs that torch can use here; give cpu, or see to CUDA"
        )
    return asked


def choose_numerics(
    device: str | None = None, precision: str | None = None, runtime: str | None = None, flop: float = 0.0
) -> Numerics:
    """What is asked for, where it can be had; what suits this machine and a run of `flop` where nothing is.

    The same machine and run give the same answer. Raises RequestError with the way out for what cannot be had.
    """
    where = choose_device(device)
    _check_known("--precision", precision, get_args(Precision))
    _check_known("--runtime", runtime, get_args(Runtime))
    if (precision == "int8" and runtime is None) or runtime == "openvino":
        return _openvino(where, precision)
    if precision == "int8":
        raise RequestError(f"--precision int8 needs --runtime openvino, got --runtime {runtime}")
    numbers = _floats(where, precision)
    if runtime == "compiled" and not compiler():
        raise RequestError("--runtime compiled: there is no C++ compiler here; install g++, or set CXX to one")
    compiled = runtime == "compiled" or (
        runtime is None and where == "cpu" and flop >= WORTH_COMPILING and compiler() is not None
    )
    return Numerics(where, numbers, "compiled" if compiled else "torch")


def fast_in_bf16(device: str) -> bool:
    """Whether the device has instructions for products of bfloat16: AMX or AVX-512 BF16 on a CPU."""
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has = torch.cpu.get_capabilities()
    return bool(has.get("amx_bf16") or has.get("avx512_bf16"))


def compiler() -> str | None:
    """The C++ compiler that torch would call, if there is one."""
    return shutil.which(os.environ.get("CXX", "g++"))


def check_extra(library: str, otherwise: str) -> None:
    """Raise RequestError with the way out, or `otherwise`, if a library of the extra `openvino` is not installed."""
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
