"""PSPNet against a U-Net of the same encoder, trained by the same code on the same samples for the same time.

    pipeline train --config CONFIG --data FOLDER --out runs/pspnet
    python -m benchmarks.against_unet train --config CONFIG --data FOLDER --out runs/unet
    python -m benchmarks.against_unet test --pspnet runs/pspnet/model --out runs/unet --table TABLE

CONFIG is a training file, such as benchmarks/landcover_folds.toml (from ImageNet) or benchmarks/landcover18.toml (from
random weights), and TABLE names images that it leaves out, with their truth; `benchmarks/default_models.py` makes both
tables. The U-Net has the shape that segmentation-models-pytorch gives it: a decoder of 256, 128, 64, 32 and 16
channels, batch norm, nearest upsampling. Its encoder begins with the same weights as PSPNet's, `network.pretrained`.
Before its first step both networks are timed, step by step in turn, on the samples that they train on (PSPNet at its
coarse output stride too, where the schedule has such steps); the U-Net takes as many steps as fit into the time that
PSPNet's take, of all trainings that follow each other where `--config` is given again, by the recipe of the first.
Samples come by number, so both see the same ones. `train --only-time` ends after the timing, and says how long both
trainings take.

`test` runs both through `pipeline run` (same patches, overlap and window; float32) and prints mean IoU of both with
bootstrap intervals.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional

import pipeline.runs.predictors
from pipeline.evaluation.compare import evaluate
from pipeline.evaluation.result import Estimate
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
from pipeline.training.initialize import initialize_from
from pipeline.training.items import find_items
from pipeline.training.losses import loss_of
from pipeline.training.module import Learner, coarse_twin
from pipeline.training.run import TrainingDataModule, TrainingResources, fit, spec_of

DECODER = (256, 128, 64, 32, 16)
STRIDES = (2, 4, 8, 16, 32)
TIMED = 12
IGNORED = 255
"""Value of labels that are not counted."""
WEIGHTS = "unet.pt"


class UNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015) with a backbone of PSPNet, in the shape of segmentation-models-pytorch."""

    def __init__(self, spec: PSPNetSpec, start: Callable[[PSPNet], None] = lambda _: None) -> None:
        super().__init__()
        encoder = PSPNet(replace(spec, output_stride=32, auxiliary=False, dilation="contracted"))
        start(encoder)
        self.stem = encoder.stem
        self.layers = encoder.layers
        for name in encoder.layers:
            self.add_module(name, encoder.get_submodule(name))
        *skips, deepest = self._channels(spec.in_channels)
        sizes = zip((deepest, *DECODER[:-1]), (*skips[::-1], 0), DECODER, strict=True)
        last = nn.Conv2d(DECODER[-1], spec.classes, 3, padding=1)
        self.head = nn.ModuleList([*(_block(deeper + skip, out) for deeper, skip, out in sizes), last])

    def forward(self, image: Tensor) -> Tensor:
        """Scores `(n, classes, h, w)`; height and width are multiples of 32."""
        *kept, x = self._encoded(image)
        *blocks, last = self.head
        for block, skip in zip(blocks, (*kept[::-1], None), strict=True):
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
            x = block(x if skip is None else torch.cat([x, skip], 1))
        return last(x)

    @torch.no_grad()
    def _channels(self, inputs: int) -> list[int]:
        """Channels of the features of each stride."""
        found = [features.shape[1] for features in self.eval()._encoded(torch.zeros(1, inputs, 64, 64))]
        self.train()
        return found

    def _encoded(self, image: Tensor) -> list[Tensor]:
        """The last features of each stride: 2, 4, 8, 16 and 32."""
        x, kept = image, {}
        for module in (*self.stem, *map(self.get_submodule, self.layers)):
            x = module(x)
            kept[image.shape[-1] // x.shape[-1]] = x
        return [kept[stride] for stride in STRIDES]


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(inputs, outputs), *_convolution(outputs, outputs))


def _convolution(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


def train_unet(
    configs: Sequence[Path], data: Path, out: Path, resources: TrainingResources, *, only_time: bool
) -> None:
    """Train the U-Net for the time that PSPNet takes; goes on from the last checkpoint."""
    trainings = [read_training(config) for config in configs]
    training = trainings[0]
    spec = spec_of(training)
    gathered = collect_statistics(training, find_items(training.data, data))
    normalization = normalization_of(training, gathered)
    torch.manual_seed(training.seed)
    pretrained = training.network.pretrained
    start = partial(initialize_from, ref=pretrained, base=data) if pretrained is not None else (lambda _: None)
    unet = UNet(spec, start)
    timed = PSPNet(spec), UNet(spec)
    steps = _noted(out / "steps.json", lambda: _fitting(trainings, *timed, gathered, normalization, resources))
    if only_time:
        return
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
    with patch.object(pipeline.runs.predictors, "inference_models", lambda *_: (plain,)):
        results["unet"] = _measured(pspnet, out / "unet", pairs)
    return results


def _measured(model: Path, folder: Path, pairs: list[tuple[Path, Path]]) -> dict[str, Any]:
    masks = []
    for image, labels in pairs:
        mask = folder / f"{image.stem}_mask.tif"
        segment(Job(str(image), mask, str(model)), Resources(precision="float32", overwrite=True))
        masks.append((mask, labels))
    found = evaluate(masks, ignore=(IGNORED,)).overall
    return {
        "mean_iou": _told(found.figures["mean_iou"]),
        "by_class": {entry.name: _told(entry.figures["iou"]) for entry in found.classes},
    }


def _told(figure: Estimate) -> list[float | None]:
    return [None if number is None else round(number, 4) for number in (figure.value, figure.low, figure.high)]


def main() -> None:
    """Train the U-Net, or test both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    training = verbs.add_parser("train")
    training.add_argument("--config", type=Path, required=True, action="append")
    for name in ("--data", "--out"):
        training.add_argument(name, type=Path, required=True)
    training.add_argument("--device")
    training.add_argument("--only-time", action="store_true")
    testing = verbs.add_parser("test")
    testing.add_argument("--pspnet", type=Path, required=True)
    testing.add_argument("--out", type=Path, required=True)
    testing.add_argument("--table", type=Path, required=True)
    asked = parser.parse_args()
    if asked.verb == "train":
        train_unet(asked.config, asked.data, asked.out, TrainingResources(asked.device), only_time=asked.only_time)
    else:
        with asked.table.open(encoding="utf-8", newline="") as file:
            pairs = [(Path(row["image"]), Path(row["truth"])) for row in csv.DictReader(file)]
        print(json.dumps(test(asked.pspnet, asked.out, pairs), indent=1))


if __name__ == "__main__":
    main()
