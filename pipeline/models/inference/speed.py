"""What a network computes on, and how long it takes for a patch."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import torch

from pipeline.files.process import processor_name
from pipeline.models.inference.device import choose_device, choose_numerics, fast_in_bf16, has_bf16
from pipeline.models.inference.numerics import Precision
from pipeline.models.inference.runtime import build_inference_model
from pipeline.models.store import load_model

_LONG = 0.5
"""Seconds after which a patch is not timed again."""
_TIMES = 5
_TOLD = ("avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16", "neon", "sve", "bf16")
"""Instruction sets that networks profit from, as torch names them."""


@dataclass(frozen=True)
class Hardware:
    """What networks compute on here."""

    processor: str
    cores: int
    """Cores that this process may use."""
    threads: int
    """Threads that torch computes on."""
    instructions: tuple[str, ...]
    """Instruction sets that networks profit from."""
    gpus: tuple[str, ...]
    """Name and memory of each."""
    precision: Precision
    """The precision of a run that does not say."""
    slow_bf16: bool
    """Whether the processor has instructions for bfloat16 that this torch does not use."""


def hardware() -> Hardware:
    """Return what networks compute on here."""
    has = torch.cpu.get_capabilities()
    device = choose_device(None)
    fast = fast_in_bf16(device)
    return Hardware(
        processor_name(),
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        torch.get_num_threads(),
        tuple(name for name in _TOLD if has.get(name)),
        tuple(map(_gpu, range(torch.cuda.device_count()))),
        "bfloat16" if fast else "float32",
        device == "cpu" and has_bf16() and not fast,
    )


def _gpu(number: int) -> str:
    about = torch.cuda.get_device_properties(number)
    return f"{about.name} ({about.total_memory / 2**30:.0f} GiB)"


def seconds_of_patch(ref: str, precision: Precision) -> float:
    """Return the seconds that a model takes for one patch on the default device: the fastest of a few."""
    device = choose_device(None)
    model = load_model(ref)
    network = build_inference_model(model, choose_numerics(device, precision, "torch")).network
    channels, (height, width) = model.card.network.in_channels, model.card.patch
    image = torch.zeros((1, channels, height, width), device=device)
    found: list[float] = []
    with torch.inference_mode():
        network(image[..., : height // 4, : width // 4])  # what is set up once is not part of it
        while len(found) < _TIMES and sum(found) < _LONG:
            began = time.perf_counter()
            float(network(image).sum())
            found.append(time.perf_counter() - began)
    return min(found)
