"""One peer in this process: python -m benchmarks.peers.child MODULE SCENE MASK MODEL OVERLAP.

Prints the seconds from loading the network to the written mask, and the bytes of memory before the scene is read and at
the peak. Start and imports count for neither.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import rasterio
import torch
from torch import Tensor

from benchmarks.resident import resident
from pipeline.models.card import Card
from pipeline.models.store import Model, load_model


def whole_scene(path: Path, card: Card) -> Tensor:
    """All pixels, normalised, `(1, channels, h, w)`."""
    with rasterio.open(path) as source:
        image = torch.from_numpy(source.read()).float()
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (card.normalization.mean, card.normalization.std))
    return image.sub_(mean).div_(std)[None]


def write_mask(path: Path, labels: Tensor, scene: Path) -> None:
    """Write `labels` with the georeference of `scene`."""
    with rasterio.open(scene) as source:
        place = {"height": source.height, "width": source.width, "crs": source.crs, "transform": source.transform}
    with rasterio.open(
        path, "w", driver="GTiff", count=1, dtype="uint8", compress="deflate", tiled=True, **place
    ) as mask:
        mask.write(labels.byte().numpy(), 1)


def main(module: str, scene: Path, mask: Path, folder: Path, overlap: int) -> None:
    """Segment `scene` by patches that overlap by `overlap` pixels, and print the figures."""
    labels: Callable[[Tensor, Model], Tensor] = import_module(f"benchmarks.peers.{module}").labels
    began = time.perf_counter()
    loaded = load_model(folder)
    model = replace(loaded, card=replace(loaded.card, overlap=(overlap, overlap)))
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    with torch.inference_mode():
        write_mask(mask, labels(whole_scene(scene, model.card), model), scene)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "before": before, "peak": resident("VmHWM")}))


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:5]), int(sys.argv[5]))
