"""Time of the network alone in every form that it has here, over plain float32, and how well their labels agree.

    python -m benchmarks.network MODEL [--scene FILE] [--size 480] [--int8 FOLDER] [--repeats 5]

MODEL is a name or a folder. Patches come from the scene, side by side, or are noise. `cpu s` are seconds of one thread
for one patch, the least of several, and `times` how many times faster than "plain" that is; `patches/s` are those of
the whole process, one call a core, over the wall clock. `labels` is the share of pixels on which the most likely class
is that of "plain". Forms take turns, so that a busy machine is unfair to none.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.geometry import Box
from pipeline.io.opening import open_source
from pipeline.models.inference.device import compiler
from pipeline.models.inference.fit import Scaling
from pipeline.models.inference.numerics import Numerics
from pipeline.models.inference.runtime import build_inference_model
from pipeline.models.networks.folded import fuse_conv_bn
from pipeline.models.store import Model, load_model

Form = Callable[[Tensor], Tensor]
PATCHES = 24
"""Patches on which labels are compared."""
OBSERVED = 0.5
"""Least share of a patch that must be observed."""


def forms(model: Model, int8: Path | None) -> dict[str, Form]:
    plain = model.network
    made: dict[str, Form] = {
        "plain: torch, float32, eager, NCHW": plain,
        "channels last": _last(deepcopy(plain)),
        "batch norms folded": _last(fuse_conv_bn(deepcopy(plain))),
        "and the pyramid folded": build_inference_model(model).network,
        "and in bfloat16": build_inference_model(model, Numerics(precision="bfloat16")).network,
        "and with what follows convolutions": build_inference_model(
            model, Numerics(precision="bfloat16", fused=True)
        ).network,
    }
    if compiler():
        made["and compiled"] = build_inference_model(model, Numerics(precision="bfloat16", runtime="compiled")).network
    if find_spec("openvino"):
        made["OpenVINO float32"] = build_inference_model(model, Numerics(runtime="openvino")).network
        made["OpenVINO bfloat16"] = build_inference_model(
            model, Numerics(precision="bfloat16", runtime="openvino")
        ).network
        if int8 is not None:
            made["OpenVINO int8"] = build_inference_model(
                load_model(int8), Numerics(precision="int8", runtime="openvino")
            ).network
    return made


def _last(network: torch.nn.Module) -> Form:
    network = network.to(memory_format=torch.channels_last)
    return lambda image: network(image.contiguous(memory_format=torch.channels_last))


def patches(model: Model, scene: Path | None, size: int) -> list[Tensor]:
    """Scaled patches `(1, channels, size, size)`."""
    channels = model.card.network.in_channels
    if scene is None:
        return list(torch.randn(PATCHES, 1, channels, size, size, generator=torch.Generator().manual_seed(0)))
    source, scaling = open_source(str(scene)), Scaling.of(model.card)
    height, width = source.grid.shape
    places = [(y, x) for y in range(0, height - size + 1, size) for x in range(0, width - size + 1, size)]
    found = []
    for y, x in places[:: max(1, len(places) // PATCHES)]:
        values, valid = source.read(Box((y, x), (y + size, x + size)))
        if valid is None or valid.mean() > OBSERVED:
            found.append(torch.from_numpy(scaling(values[None], None if valid is None else valid[None])))
    return found[:PATCHES]


def measure(made: dict[str, Form], images: list[Tensor], repeats: int) -> list[dict[str, object]]:
    torch.set_num_threads(1)
    labels = {name: [form(image)[0].argmax(0).numpy() for image in images] for name, form in made.items()}
    seconds: dict[str, list[float]] = {name: [] for name in made}
    walls: dict[str, list[float]] = {name: [] for name in made}
    for turn in range(repeats):
        for name, form in made.items():
            began = time.process_time()
            form(images[turn % len(images)])
            seconds[name].append(time.process_time() - began)
            walls[name].append(_wall(form, images))
    plain, *_ = made
    return [
        {
            "form": name,
            "cpu s": round(min(seconds[name]), 3),
            "times": round(min(seconds[plain]) / min(seconds[name]), 2),
            "patches/s": round(1 / min(walls[name]), 2),
            "labels": round(float(np.mean([a == b for a, b in zip(labels[name], labels[plain], strict=True)])), 5),
        }
        for name in made
    ]


def _wall(form: Form, images: list[Tensor]) -> float:
    """Wall seconds for one patch, with a call on every core."""
    count = os.cpu_count() or 1

    def call(image: Tensor) -> None:
        torch.set_num_threads(1)
        with torch.inference_mode():
            form(image)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(call, images[:count]))
        began = time.perf_counter()
        list(pool.map(call, (images * count)[: 2 * count]))
    return (time.perf_counter() - began) / (2 * count)


@torch.inference_mode()
def main(model: str, scene: Path | None, size: int, int8: Path | None, repeats: int) -> None:
    loaded = load_model(model)
    rows = measure(forms(loaded, int8), patches(loaded, scene, size), repeats)
    for row in rows:
        print(json.dumps(row))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--scene", type=Path)
    parser.add_argument("--size", type=int, default=480)
    parser.add_argument("--int8", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    main(**vars(parser.parse_args()))
