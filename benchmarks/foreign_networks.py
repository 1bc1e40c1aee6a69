"""Real architectures of other projects through `run`, held against a plain loop over the whole image.

    pip install --no-deps segmentation-models-pytorch timm torchvision && pip install transformers
    python -m benchmarks.foreign_networks FOLDER [--side 1024] [--patch 256] [--only unet]

U-Net and DeepLabV3+ of segmentation-models-pytorch and SegFormer of transformers, all with random weights, are exported
as their users do it, imported, and run on a scene of noise and blots. For each network: the share of cells that have
the label of the loop; whether bytes are the same with two workers, with strips, and after an interruption; CPU seconds
of `run` and of the loop; and peak memory above the loaded network for the scene and for one of twice the rows. Then
`landcover` is exported, imported again, and compared with itself.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import rasterio
import torch
from torch import nn

from benchmarks.resident import MIB
from benchmarks.scenes import sample_scene
from pipeline.engine.ledger import Ledger
from pipeline.errors import Interrupted
from pipeline.jobs.job import Job, Resources
from pipeline.models.exchange.export import export_model
from pipeline.models.importing import ImportOptions, import_weights
from pipeline.runs.segment import segment
from tests.support.plain_loop import plain_mask, softmax

CLASSES = 5
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def main(folder: Path, side: int, patch: int, only: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scene = Path(sample_scene(folder, side, side))
    print("| network | file | scores | cells alike | same bytes | run, CPU s | loop, CPU s | memory, MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for name, make in NETWORKS.items():
        if only in (None, name):
            print(measured(name, make, folder, scene, side, patch), flush=True)
    if only in (None, "landcover"):
        print(f"\nlandcover, exported and imported again: {exported(folder, scene):.4%} of cells alike")


def measured(name: str, make: Callable[[], nn.Module], folder: Path, scene: Path, side: int, patch: int) -> str:
    file = folder / f"{name}.onnx"
    if not file.exists():
        export(make(), file, patch)
    options = ImportOptions(mean=MEAN, std=STD, patch=(patch, patch), overlap=(patch // 4,) * 2, overwrite=True)
    model = import_weights(file, folder / name, options)
    job = Job(str(scene), folder / f"{name}.tif", str(model.path))
    began = time.process_time()
    segment(job, Resources(overwrite=True, restart=True))
    taken = time.process_time() - began
    began = time.process_time()
    expected = looped(scene, file, patch)
    loop = time.process_time() - began
    alike = np.mean(labels(folder / f"{name}.tif") == expected)
    spec = model.card.network
    memory = [peak(folder, rows, side, model.path) for rows in (side, 2 * side)]
    return (
        f"| {name} | {file.stat().st_size / MIB:.0f} MiB | {spec.scores}, stride {spec.output_stride} | {alike:.4%} | "
        f"{same_bytes(job)} | {taken:.1f} | {loop:.1f} | {memory[0]}; {memory[1]} |"
    )


def export(network: nn.Module, file: Path, patch: int) -> None:
    """Write a network for patches of any size, as the documentation of torch shows it."""
    axes = {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (torch.zeros(1, 3, patch, patch),),
            file,
            input_names=["image"],
            output_names=["scores"],
            dynamic_axes={"image": axes, "scores": axes},
            opset_version=17,
            dynamo=False,
        )


def unet() -> nn.Module:
    return smp().Unet("resnet18", encoder_weights=None, classes=CLASSES)


def deeplab() -> nn.Module:
    return smp().DeepLabV3Plus("resnet34", encoder_weights=None, classes=CLASSES)


def smp() -> object:
    """segmentation-models-pytorch; torchvision without its compiled operators needs the names of two of them."""
    global _LIBRARY
    if _LIBRARY is None:
        _LIBRARY = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            _LIBRARY.define(f"{operator}(Tensor a, Tensor b, float c) -> Tensor")
    import segmentation_models_pytorch

    return segmentation_models_pytorch


_LIBRARY: torch.library.Library | None = None


class SegFormer(nn.Module):
    """SegFormer-B0 of transformers: logits of a quarter of the size."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import SegformerConfig, SegformerForSemanticSegmentation

        self.network = SegformerForSemanticSegmentation(SegformerConfig(num_labels=CLASSES))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Scores `(n, classes, h / 4, w / 4)`."""
        return self.network(pixel_values=image).logits


NETWORKS: dict[str, Callable[[], nn.Module]] = {"unet": unet, "segformer": SegFormer, "deeplab": deeplab}


def looped(scene: Path, file: Path, patch: int) -> np.ndarray:
    """Labels of a plain loop over the whole image."""
    with rasterio.open(scene) as dataset:
        values = dataset.read().astype(np.float32)
    mean, std = (np.array(numbers, np.float32)[:, None, None] for numbers in (MEAN, STD))
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def scores(part: np.ndarray) -> np.ndarray:
        found = torch.from_numpy(session.run(None, {"image": part[None]})[0])
        whole = nn.functional.interpolate(found, part.shape[1:], mode="bilinear")
        return softmax(whole[0].numpy().astype(np.float64))

    return plain_mask((values - mean) / std, scores, (patch, patch), (patch // 4, patch // 4))


def same_bytes(job: Job) -> str:
    """Whether the mask is the same with two workers, in strips, and where it was interrupted."""
    assert job.output is not None
    before = job.output.read_bytes()
    means = {"workers": Resources(workers=2), "strips": Resources(memory=24 << 20)}
    alike = {name: before == again(job, how) for name, how in means.items()}
    interrupt(job)
    return ", ".join(name for name, same in {**alike, "resumed": before == again(job, Resources())}.items() if same)


def again(job: Job, how: Resources) -> bytes:
    other = replace(job, output=job.output.with_name(f"again-{job.output.name}"))
    segment(other, replace(how, overwrite=True))
    return other.output.read_bytes()


def interrupt(job: Job) -> None:
    """Begin the run that `again` goes on with, and stop it after its first slab."""
    other = replace(job, output=job.output.with_name(f"again-{job.output.name}"))
    mark = Ledger.mark

    def mark_and_stop(ledger: Ledger, *slab: object) -> None:
        mark(ledger, *slab)
        raise Interrupted

    Ledger.mark = mark_and_stop
    try:
        segment(other, Resources(overwrite=True, restart=True))
    except Interrupted:
        pass
    finally:
        Ledger.mark = mark


def peak(folder: Path, rows: int, columns: int, model: Path) -> int:
    """MiB of a run above the loaded network, in a process of its own."""
    scene = sample_scene(folder, rows, columns)
    call = [sys.executable, "-m", "benchmarks.memory", "--measure", scene, folder / "memory.tif", model]
    found = json.loads(subprocess.run(call, check=True, capture_output=True).stdout)
    return round((found["peak"] - found["before"]) / MIB)


def exported(folder: Path, scene: Path) -> float:
    """Share of cells of `landcover` that have the same label after it was exported and imported again."""
    export_model("landcover", folder / "landcover.onnx", overwrite=True)
    import_weights(folder / "landcover.onnx", folder / "landcover", ImportOptions(overwrite=True))
    how = Resources(precision="float32", overwrite=True, restart=True)
    job = Job(str(scene), folder / "plain.tif", "landcover", features="patch")
    segment(job, how)
    segment(replace(job, output=folder / "onnx.tif", model=str(folder / "landcover"), features=None), how)
    return float(np.mean(labels(folder / "plain.tif") == labels(folder / "onnx.tif")))


def labels(mask: Path) -> np.ndarray:
    with rasterio.open(mask) as dataset:
        return dataset.read(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=1536)
    parser.add_argument("--patch", type=int, default=256)
    parser.add_argument("--only")
    asked = parser.parse_args()
    main(asked.folder, asked.side, asked.patch, asked.only)
