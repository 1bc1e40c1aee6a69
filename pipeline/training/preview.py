"""What a training would do: a picture of its first samples, and a few steps to measure time and memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.files.atomic import atomic_write
from pipeline.files.process import resident
from pipeline.io.drawing import png_of
from pipeline.io.lettering import legend
from pipeline.models.inference.device import choose_device
from pipeline.models.networks.pspnet import PSPNet
from pipeline.sources.percentiles import to_gray
from pipeline.training.config import Training, TrainingResources
from pipeline.training.dataset import TrainingPatches, ValidationPatches, close_all
from pipeline.training.patch import IGNORE, Sample
from pipeline.training.run import Say, ready_for
from pipeline.training.trial import Trial

SAMPLES = "samples.png"
SHOWN, ACROSS = 24, 6
"""Samples in the picture, at most, and in a row of it."""
_STEPS = 3
"""Steps that are measured; the first is slower and does not count."""
_GAP, _EMPTY = 4, (40, 40, 40)
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Preview:
    """What a training would look like and take."""

    samples: Path
    """Picture of the first samples: images, and below each its labels; what is not learned from is dark."""
    steps: int
    seconds_per_step: float
    """The mean of all steps, with reading and augmentation."""
    memory: int
    """Bytes of this process after a few steps, of the GPU if there is one."""
    validation_hours: float
    """Of all validations; 0 if nothing is kept for them."""

    @property
    def hours(self) -> float:
        """Of all steps on a machine as busy as this one, without validations."""
        return self.steps * self.seconds_per_step / 3600


def preview(training: Training, base: Path, out: Path, resources: TrainingResources, say: Say = print) -> Preview:
    """Look through the data, draw the first samples into `out`, and take a few steps that are forgotten.

    Nothing of a training that was begun in `out` changes.

    Raises:
        RequestError, InputError, OutputError: as `train` raises them.

    """
    learner, statistics, normalization = ready_for(training, base, resources, say)
    how, count = training.schedule, max(SHOWN, _STEPS * training.samples.batch)
    samples = TrainingPatches(training, statistics, normalization, range(count))
    path = out / SAMPLES
    try:
        with atomic_write(path) as draft:
            draft.write_bytes(png_of(draw_samples([samples[number] for number in range(SHOWN)], training)))
        trial = Trial(learner, samples, resources)
        seconds = (1 - how.coarse) * _seconds(trial, learner.network)
        seconds += how.coarse * _seconds(trial, learner.early_network) if how.coarse else 0.0
        validation = _validating(trial, ValidationPatches(training, statistics, normalization))
        memory = _memory(choose_device(resources.device))
    finally:
        close_all()
    return Preview(path, how.steps, seconds, memory, validation * how.steps / how.every / 3600)


def draw_samples(samples: Sequence[Sample], training: Training) -> Picture:
    """Draw samples in rows, `(rows, columns, 3)`: images, and below each its labels in the colors of the classes."""
    images = _stretched([_shown(sample, training) for sample in samples])
    colors = np.array([_EMPTY, *(entry.color for entry in training.classes)], np.uint8)
    labels = [colors[sample.labels.numpy() - IGNORE] for sample in samples]
    pairs = [np.concatenate([image, label]) for image, label in zip(images, labels, strict=True)]
    rows = [_row(pairs[at : at + ACROSS]) for at in range(0, len(pairs), ACROSS)]
    whole = np.concatenate(rows)
    entries = [*((entry.name, entry.color) for entry in training.classes), ("not learned from", _EMPTY)]
    return np.concatenate([whole, legend(entries, whole.shape[1])])


def _shown(sample: Sample, training: Training) -> NDArray[np.float32]:
    """The first three channels in their own slice, or the first one in gray: `(rows, columns, 3)`."""
    slices = 2 * training.samples.margin + 1
    planes = sample.image[training.samples.margin :: slices].numpy()
    chosen = planes[:3] if len(planes) >= 3 else planes[[0, 0, 0]]
    image: NDArray[np.float32] = chosen.transpose(1, 2, 0)
    return image


def _stretched(images: Sequence[NDArray[np.float32]]) -> list[Picture]:
    """Images from the 2nd to the 98th percentile of all of them."""
    low, high = np.percentile(np.stack(images), (2, 98))
    return [to_gray(image, float(low), float(high)) for image in images]


def _row(pairs: Sequence[Picture]) -> Picture:
    height, width, _ = pairs[0].shape
    row = np.full((height + 2 * _GAP, ACROSS * (width + _GAP) - _GAP, 3), 255, np.uint8)
    for number, pair in enumerate(pairs):
        row[:height, number * (width + _GAP) : number * (width + _GAP) + width] = pair
    return row


def _seconds(trial: Trial, network: PSPNet) -> float:
    """Seconds of a step with a network, samples and all."""
    learned = (parameter for parameter in network.parameters() if parameter.requires_grad)
    optimizer = torch.optim.AdamW(learned, lr=0.0, weight_decay=0)
    return fmean([_timed(partial(trial.step, number, optimizer, network)) for number in range(_STEPS)][1:])


def _validating(trial: Trial, checks: ValidationPatches) -> float:
    """Seconds of a validation, by a batch of it."""
    count = min(trial.learner.training_config.samples.batch, len(checks))
    if not count:
        return 0.0
    return _timed(lambda: trial.validate([checks[number] for number in range(count)])) * len(checks) / count


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _memory(device: str) -> int:
    """Most bytes of the GPU that were taken, or of this process now: torch keeps what it took."""
    if torch.device(device).type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resident()
