"""The packaged landcover model against a U-Net, trained by the same code on the same samples for the same time.

    python -m benchmarks.against_unet train --config benchmarks/landcover18.toml --data FOLDER --out runs/unet
    python -m benchmarks.against_unet test --pspnet runs/landcover/model --out runs/unet --table TABLE

The U-Net has the shape that segmentation-models-pytorch gives a ResNet-18 encoder: decoder of 256, 128, 64, 32 and 16
channels, batch norm, nearest upsampling. It begins with random weights, as PSPNet does. Before its first step both
networks are timed, step by step in turn, on the samples that they train on (PSPNet at its coarse output stride too,
where the schedule has such steps); the U-Net takes as many steps as fit into the time that PSPNet's take, of all
trainings that follow each other where `--config` is given again, by the recipe of the first. Samples come by number, so
both see the same ones.

`test` runs both through `pipeline run` (same patches, overlap and window; float32) and prints mean IoU of both with
bootstrap intervals.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional

import pipeline.runs.predictors
from pipeline.evaluation.compare import evaluate
from pipeline.jobs.job import Job, Resources
from pipeline.models.inference.device import choose_device, fast_in_bf16
from pipeline.models.inference.numerics import REFERENCE
from pipeline.models.inference.runtime import InferenceModel
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.spec import PSPNetSpec
from pipeline.models.store import load_model
from pipeline.runs.segment import segment
from pipeline.training.config import Training, read_training
from pipeline.training.dataset_statistics import collect_statistics, normalization_of
from pipeline.training.items import find_items
from pipeline.training.losses import loss_of
from pipeline.training.module import Learner, coarse_twin
from pipeline.training.run import TrainingDataModule, TrainingResources, fit, spec_of

DECODER = (256, 128, 64, 32, 16)
TIMED = 12
WEIGHTS = "unet.pt"


class UNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015) with a ResNet-18 encoder, in the shape of segmentation-models-pytorch."""

    def __init__(self, spec: PSPNetSpec) -> None:
        super().__init__()
        encoder = PSPNet(replace(spec, output_stride=32, auxiliary=False, dilation="contracted"))
        self.stem = encoder.stem
        self.layers = encoder.layers
        for name in encoder.layers:
            self.add_module(name, encoder.get_submodule(name))
        deeper, skips = (512, *DECODER[:-1]), (256, 128, 64, 64, 0)
        self.decoder = nn.ModuleList(_block(a + b, c) for a, b, c in zip(deeper, skips, DECODER, strict=True))
        self.head = nn.Conv2d(DECODER[-1], spec.classes, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Scores `(n, classes, h, w)`; height and width are multiples of 32."""
        kept = [self.stem[:-1](image)]
        x = self.stem[-1](kept[0])
        for name in self.layers:
            x = self.get_submodule(name)(x)
            kept.append(x)
        skips = [*kept[-2::-1], None]
        for block, skip in zip(self.decoder, skips, strict=True):
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
            x = block(x if skip is None else torch.cat([x, skip], 1))
        return self.head(x)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(inputs, outputs), *_convolution(outputs, outputs))


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


def train_unet(configs: Sequence[Path], data: Path, out: Path, resources: TrainingResources) -> None:
    """Train the U-Net for the time that PSPNet takes; goes on from the last checkpoint."""
    trainings = [read_training(config) for config in configs]
    training = trainings[0]
    spec = spec_of(training)
    gathered = collect_statistics(training, find_items(training.data, data))
    normalization = normalization_of(training, gathered)
    torch.manual_seed(training.seed)
    unet = UNet(spec)
    steps = _noted(
        out / "steps.json", lambda: _fitting(trainings, PSPNet(spec), UNet(spec), gathered, normalization, resources)
    )
    training = replace(training, schedule=replace(training.schedule, steps=steps["unet"], coarse=0.0))
    learner = Learner(training, cast("PSPNet", unet))
    fit(learner, TrainingDataModule(training, gathered, normalization, resources), out, resources)
    torch.save(learner.published.state_dict(), out / WEIGHTS)


def _noted(path: Path, measure: Any) -> dict[str, Any]:  # noqa: ANN401
    """What was measured before, or what is measured now: a resumed training must take the same number of steps."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(measure(), indent=1) + "\n")
    return json.loads(path.read_text())


def _fitting(trainings: Sequence[Training], pspnet: PSPNet, unet: nn.Module, *data: Any) -> dict[str, Any]:  # noqa: ANN401
    """Steps of the U-Net that take as long as all of PSPNet's: timed on the same batches, in turn."""
    *found, resources = data
    training, schedules = trainings[0], [training.schedule for training in trainings]
    device = choose_device(resources.device)
    batches = TrainingDataModule(training, *found, resources).train_dataloader()
    networks = {"unet": unet, "pspnet": pspnet, "coarse": coarse_twin(pspnet)}
    optimizers = {}
    for name, network in networks.items():
        network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        optimizers[name] = torch.optim.AdamW(network.parameters(), lr=1e-4)
    times: dict[str, list[float]] = {name: [] for name in networks}
    for batch in islice(batches, TIMED):
        image, labels = (x.to(device) for x in batch)
        for name, network in networks.items():
            began = time.monotonic()
            with torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=fast_in_bf16(device)):
                scores = network(image.contiguous(memory_format=torch.channels_last))
            heads = scores if isinstance(scores, tuple) else (scores,)
            loss = sum(loss_of(head, labels, training.loss) for head in heads)
            optimizers[name].zero_grad()
            loss.backward()
            optimizers[name].step()
            times[name].append(time.monotonic() - began)
    seconds = {name: statistics.median(taken) for name, taken in times.items()}
    whole = sum(
        schedule.steps * (schedule.coarse * seconds["coarse"] + (1 - schedule.coarse) * seconds["pspnet"])
        for schedule in schedules
    )
    steps = round(whole / seconds["unet"])
    print(f"seconds a step: {seconds}; {steps} steps of the U-Net take PSPNet's {whole:.0f} s", flush=True)
    return {"pspnet": sum(schedule.steps for schedule in schedules), "unet": steps, "seconds a step": seconds}


def test(pspnet: Path, out: Path, pairs: list[tuple[Path, Path]]) -> dict[str, Any]:
    """Mean IoU of both networks on scenes with labels, through the ordinary run."""
    model = load_model(str(pspnet))
    unet = UNet(model.card.network)
    unet.load_state_dict(torch.load(out / WEIGHTS, weights_only=True))
    unet = unet.eval().to(memory_format=torch.channels_last)
    plain = InferenceModel(
        model.card, REFERENCE, lambda image: unet(image.contiguous(memory_format=torch.channels_last))
    )
    results = {"pspnet": _measured(pspnet, out / "pspnet", pairs)}
    with patch.object(pipeline.runs.predictors, "ready_for", lambda *_: plain):
        results["unet"] = _measured(pspnet, out / "unet", pairs)
    return results


def _measured(model: Path, folder: Path, pairs: list[tuple[Path, Path]]) -> dict[str, Any]:
    masks = []
    for image, labels in pairs:
        mask = folder / f"{image.stem}_mask.tif"
        segment(Job(str(image), mask, str(model)), Resources(precision="float32", overwrite=True))
        masks.append((mask, labels))
    found = evaluate(masks)
    return {
        "mean_iou": found.overall.figures["mean_iou"].value,
        "by_class": {entry.name: entry.figures["iou"].value for entry in found.overall.classes},
    }


def main() -> None:
    """Train the U-Net, or test both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    training = verbs.add_parser("train")
    training.add_argument("--config", type=Path, required=True, action="append")
    for name in ("--data", "--out"):
        training.add_argument(name, type=Path, required=True)
    training.add_argument("--device")
    testing = verbs.add_parser("test")
    testing.add_argument("--pspnet", type=Path, required=True)
    testing.add_argument("--out", type=Path, required=True)
    testing.add_argument("--table", type=Path, required=True)
    asked = parser.parse_args()
    if asked.verb == "train":
        train_unet(asked.config, asked.data, asked.out, TrainingResources(asked.device))
    else:
        with asked.table.open(encoding="utf-8", newline="") as file:
            pairs = [(Path(row["image"]), Path(row["truth"])) for row in csv.DictReader(file)]
        print(json.dumps(test(asked.pspnet, asked.out, pairs), indent=1))


if __name__ == "__main__":
    main()
