"""What networks compute on: device, instructions, and the time of a patch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from pipeline.doctor.finding import Finding, ok, remark
from pipeline.models.catalogue import load_card
from pipeline.models.inference.speed import Hardware, hardware, seconds_of_patch

MODEL = "landcover"
"""The model whose patch is timed."""


def check_device() -> Iterator[Finding]:
    """Look at what networks compute on."""
    found = hardware()
    facts = {"processor": found.processor, "cores": found.cores, "threads": found.threads, "gpus": list(found.gpus)}
    facts |= {"instructions": list(found.instructions)}
    cores = f"{found.cores} cores" + ("" if found.threads >= found.cores else f", of which torch uses {found.threads}")
    yield ok("device", f"{', '.join(found.gpus) or 'no GPU'}; {found.processor}, {cores}", **facts)
    yield from _of_threads(found)
    yield from _of_unused_gpu(found)
    yield ok("device", f"instructions: {', '.join(found.instructions) or 'none that torch tells of'}")
    if found.slow_bf16:
        text = "this processor computes in bfloat16, but this torch does so one value at a time"
        yield remark("device", text, "pip install 'torch>=2.6,<2.14'; until then float32 is used")


def _of_threads(found: Hardware) -> Iterator[Finding]:
    if found.threads < found.cores:
        yield remark("device", f"torch uses {found.threads} of {found.cores} cores", "unset OMP_NUM_THREADS")


def _of_unused_gpu(found: Hardware) -> Iterator[Finding]:
    if not found.gpus and shutil.which("nvidia-smi") is not None:
        text = "there is a driver for NVIDIA GPUs, but this torch cannot use one"
        yield remark("device", text, "look at `nvidia-smi`, and install a torch for its version of CUDA")


def _others_at_work() -> str:
    """Return what is said of times that are longer for what else this machine does."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    busy = load > 1.5 * (os.cpu_count() or 1)
    return f"; this machine is busy (load {load:.1f}), and faster when it is not" if busy else ""


def check_speed() -> Iterator[Finding]:
    """Time one patch in each precision."""
    card = load_card(MODEL)
    seconds = {precision: seconds_of_patch(MODEL, precision) for precision in ("float32", "bfloat16")}
    pixels = card.patch[0] * card.patch[1]
    told = ", ".join(f"{name} {1000 * each:.0f} ms ({pixels / each / 1e6:.2g} Mpx/s)" for name, each in seconds.items())
    usual = hardware().precision
    text = f"a patch of {MODEL}, {card.patch[0]} x {card.patch[1]}, one at a time: {told}; {usual} is the default"
    text += _others_at_work()
    slower = seconds[usual] > 1.2 * min(seconds.values())
    if slower:
        best = min(seconds, key=lambda name: seconds[name])
        yield remark(
            "speed", text, f"run with --precision {best}; if others use this machine, measure again", **seconds
        )
    else:
        yield ok("speed", text, **seconds)
