"""Steps of a training of which nothing stays: to measure what they take, or what a learning rate does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.utils.data import default_collate

from pipeline.models.inference.device import choose_device, fast_in_bf16
from pipeline.models.networks.pspnet import PSPNet
from pipeline.training.config import TrainingResources
from pipeline.training.dataset import TrainingPatches
from pipeline.training.module import Learner
from pipeline.training.patch import Sample


class Trial:
    """The steps that a learner would take, outside of Lightning: batches by number, loss, gradients, optimizer.

    Its weights change; throw it away.
    """

    def __init__(self, learner: Learner, samples: TrainingPatches, resources: TrainingResources) -> None:
        self.device = choose_device(resources.device)
        self.learner = learner.to(self.device).train()
        self._samples = samples
        learner.on_fit_start()
        learner.on_train_epoch_start()

    def step(self, number: int, optimizer: Optimizer, network: PSPNet) -> float:
        """Take step `number`, counted from 0, with a network of the learner's weights, and return its loss."""
        batch = self._batch(number)
        with self._cast():
            loss = self.learner.loss_on(batch, network)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        how = self.learner.training_config.schedule
        if how.clip:
            clip_grad_norm_(self.learner.network.parameters(), how.clip)
        optimizer.step()
        return float(loss.detach())

    @torch.no_grad()
    def validate(self, samples: Sequence[Sample]) -> None:
        """Do what a validation does with a batch."""
        self.learner.eval()
        batch = self._moved(samples)
        with self._cast():
            self.learner.validation_step(batch, 0)

    def _batch(self, number: int) -> Sample:
        size = self.learner.training_config.samples.batch
        return self._moved([self._samples[number * size + place] for place in range(size)])

    def _moved(self, samples: Sequence[Sample]) -> Sample:
        image, labels = default_collate(list(samples))
        return Sample(image.to(self.device), labels.to(self.device))

    def _cast(self) -> torch.autocast:
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=fast_in_bf16(self.device))
