"""Trains the two packaged models from random weights on a CPU, and a ResNet-50 to measure speed with.

    python benchmarks/train_default_models.py landcover|hippocampus|landcover50 --data <folder> --minutes N --out DIR

Stopped at any time, it goes on from the last checkpoint in DIR when it is started again. When the minutes are used,
the model is measured on the test split, once, and written to DIR/<name>.

The packaged weights were made with it while it was written: landcover in 83 minutes on a shared core, ten at output
stride 16 first and only the last seven with the present range of scale and colour; hippocampus in 40, as it stands.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from default_data import hippocampus, landcover
from torch import Tensor
from torch.nn import functional

from pipeline.models.pspnet import PSPNet
from pipeline.models.spec import OutputStride, PSPNetSpec
from pipeline.models.store import load_model, save_model

IGNORE = 255
Scores = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Phase:
    """A stretch of the training."""

    until: float
    """Share of the whole time at which it ends."""
    output_stride: OutputStride
    """Coarse features are three times faster to train on, and share the weights."""
    side: float
    """Share of the model's patch that a training crop covers, per axis."""
    batch: int


@dataclass(frozen=True)
class Recipe:
    """How one model is trained."""

    spec: PSPNetSpec
    phases: tuple[Phase, ...]
    rate: float
    """Highest learning rate of AdamW; falls as (1 - progress) ** 0.9."""
    dice: float
    """Weight of the soft Dice loss beside the cross entropy."""
    smoothing: float
    """Label smoothing of the cross entropy, for noisy labels."""


RECIPES = {
    "landcover": Recipe(
        PSPNetSpec("resnet18", 3, 5, auxiliary=True),
        (Phase(0.6, 8, 0.25, 12), Phase(0.85, 8, 0.5, 6), Phase(1.0, 8, 1.0, 3)),
        rate=1e-3,
        dice=0.5,
        smoothing=0.02,
    ),
    "landcover50": Recipe(
        PSPNetSpec("resnet50", 3, 5, auxiliary=True, ppm_channels=512, head_channels=512),
        (Phase(0.5, 16, 0.375, 8), Phase(0.85, 8, 0.375, 6), Phase(1.0, 8, 0.9375, 2)),
        rate=5e-4,
        dice=0.5,
        smoothing=0.02,
    ),
    "hippocampus": Recipe(
        PSPNetSpec("resnet18", 5, 3, auxiliary=True),
        (Phase(0.2, 16, 1.0, 12), Phase(1.0, 8, 1.0, 8)),
        rate=1e-3,
        dice=1.0,
        smoothing=0.0,
    ),
}
DATA = {"landcover": landcover, "landcover50": landcover, "hippocampus": hippocampus}


def loss(scores: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
    """Cross entropy plus weighted soft Dice over the observed pixels of the batch."""
    entropy = functional.cross_entropy(scores, labels, ignore_index=IGNORE, label_smoothing=recipe.smoothing)
    valid = labels != IGNORE
    truth = labels.where(valid, 0)
    shares = scores.softmax(1) * valid[:, None]
    hits = shares.new_zeros(scores.shape[1]).scatter_add(0, truth.flatten(), shares.gather(1, truth[:, None]).flatten())
    sizes = shares.sum((0, 2, 3)) + torch.bincount(truth[valid], minlength=scores.shape[1])
    return entropy + recipe.dice * (1 - ((2 * hits + 1) / (sizes + 1)).mean())


class Training:
    """Networks that share their weights at several output strides, the optimiser and the clock."""

    def __init__(self, recipe: Recipe, out: Path, minutes: float) -> None:
        self.recipe, self.path, self.seconds = recipe, out / "checkpoint.pt", 60 * minutes
        self.network = PSPNet(recipe.spec).to(memory_format=torch.channels_last)
        self.at_stride = {phase.output_stride: self._twin(phase.output_stride) for phase in recipe.phases}
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=recipe.rate, weight_decay=0.02)
        self.used, self.steps = 0.0, 0
        if self.path.exists():
            kept = torch.load(self.path, weights_only=True)
            self.network.load_state_dict(kept["network"])
            self.optimiser.load_state_dict(kept["optimiser"])
            self.used, self.steps = kept["used"], kept["steps"]

    def _twin(self, stride: OutputStride) -> PSPNet:
        twin = PSPNet(replace(self.recipe.spec, output_stride=stride))
        twin.load_state_dict(self.network.state_dict(keep_vars=True), assign=True)
        return twin

    @property
    def progress(self) -> float:
        """Share of the time that is used."""
        return self.used / self.seconds

    @property
    def phase(self) -> Phase:
        """The phase that it is in."""
        return next((phase for phase in self.recipe.phases if self.progress < phase.until), self.recipe.phases[-1])

    def step(self, image: Tensor, labels: Tensor) -> float:
        """One update; the loss."""
        network = self.at_stride[self.phase.output_stride].train()
        rate = self.recipe.rate * max(1 - self.progress, 1e-3) ** 0.9 * min(1.0, (self.steps + 1) / 200)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16):
            scores, auxiliary = network(image.contiguous(memory_format=torch.channels_last))
        total = loss(scores.float(), labels, self.recipe) + 0.4 * loss(auxiliary.float(), labels, self.recipe)
        self.optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.steps += 1
        return float(total.detach())

    def save(self) -> None:
        """Write the checkpoint under a temporary name, then rename it."""
        part = self.path.with_suffix(".part")
        kept = {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}
        torch.save({**kept, "used": self.used, "steps": self.steps}, part)
        part.replace(self.path)

    def scores(self) -> Scores:
        """The network of the current stride as a function, for validation."""
        network = self.at_stride[self.phase.output_stride].eval()

        def run(image: Tensor) -> Tensor:
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                scores: Tensor = network(image.contiguous(memory_format=torch.channels_last))
            return scores.float()

        return run


def train(training: Training, data: Any) -> None:  # noqa: ANN401  (of one of two modules)
    """Train until the minutes are used, with a line of figures and a checkpoint every few minutes."""
    rng = np.random.default_rng(training.steps)
    torch.manual_seed(training.steps)
    losses: list[float] = []
    clock, last = time.monotonic(), training.used
    while training.progress < 1:
        image, labels = data.batch(rng, training.phase.batch, training.phase.side)
        losses.append(training.step(image, labels))
        now = time.monotonic()
        training.used, clock = training.used + now - clock, now
        if len(losses) % 50 == 0:
            print(f"{training.used:6.0f} s  step {training.steps:5d}  loss {np.mean(losses[-50:]):.4f}", flush=True)
        if training.used - last > 300 or training.progress >= 1:
            last = training.used
            training.save()
            figures = data.validate(training.scores(), few=training.progress < 1)
            print(f"{training.used:6.0f} s  {json.dumps(figures)}", flush=True)
            training.used, clock = training.used + time.monotonic() - clock, time.monotonic()


def export(training: Training, data: Any, folder: Path) -> None:  # noqa: ANN401
    """Write the model as it will be used, measure that on the test split, and write the figures into its card."""
    card = replace(data.card, name=folder.name, network=training.recipe.spec)
    save_model(folder, card, training.network)
    network = load_model(folder).network
    with torch.inference_mode():
        figures = data.test(network)
    print(save_model(folder, replace(card, evaluation=figures), network).to_json())


def main() -> None:
    """Read the arguments, train and export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    data = DATA[arguments.name].Data(arguments.data)
    training = Training(RECIPES[arguments.name], arguments.out, arguments.minutes)
    train(training, data)
    export(training, data, arguments.out / arguments.name)


if __name__ == "__main__":
    main()
