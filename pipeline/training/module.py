"""The Lightning module: training and validation steps, and the optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import lightning
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchmetrics.classification import MulticlassConfusionMatrix

from pipeline.errors import PipelineError
from pipeline.models.networks.pspnet import PSPNet
from pipeline.models.spec import PSPNetSpec
from pipeline.training.config import Schedule, Training
from pipeline.training.losses import loss_of, taught
from pipeline.training.patch import IGNORE, Sample
from pipeline.training.teacher import Teachers


class Learner(lightning.LightningModule):
    """PSPNet under training, as Lightning drives it."""

    def __init__(self, training: Training, network: PSPNet, teachers: Teachers | None = None) -> None:
        super().__init__()
        self.training_config = training
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = _average(network, training.schedule.averaging)
        self.confusion = MulticlassConfusionMatrix(len(training.classes), ignore_index=IGNORE)
        for module in _frozen(network, training.network.frozen_stages):
            module.requires_grad_(requires_grad=False)
        self._coarse: tuple[PSPNet, ...] = ()  # not a module of this one, for its weights are another's
        self._teachers = teachers

    @property
    def published(self) -> PSPNet:
        """The network that a model is made of: the average, if there is one."""
        return self.network if self.average is None else cast("PSPNet", self.average.module)

    @property
    def early_network(self) -> PSPNet:
        """The network of the first steps: the coarse one, if there are such steps."""
        return self._coarse[0] if self._coarse else self.network

    def forward(self, image: Tensor) -> Tensor:
        """Scores of the network that would be published."""
        scores: Tensor = self.published(image.contiguous(memory_format=torch.channels_last))
        return scores

    def on_train_batch_end(self, outputs: Any, batch: Sample, batch_idx: int) -> None:  # noqa: ANN401
        """The average follows."""
        if self.average is not None:
            self.average.update_parameters(self.network)

    def on_train_epoch_start(self) -> None:
        """Frozen parts stay in evaluation mode; dropout is seeded by the step, so that a resumed run is the same."""
        torch.manual_seed(1_000_003 * self.training_config.seed + self.global_step)
        for network in (self.network, *self._coarse):
            for module in self._resting(network):
                module.eval()

    def on_fit_start(self) -> None:
        """The coarse twin is made where the network lies by now, and teachers come there."""
        if self.training_config.schedule.coarse:
            self._coarse = (coarse_twin(self.network),)
        if self._teachers is not None:
            self._teachers.to(self.device)

    def training_step(self, batch: Sample, index: int) -> Tensor:
        """Loss of a batch."""
        how = self.training_config.schedule
        early = self.global_step < how.coarse * how.steps
        loss = self.loss_on(batch, self.early_network if early else self.network)
        if not torch.isfinite(loss):
            raise PipelineError(
                f"step {self.global_step}: the loss is {float(loss.detach())}; lower schedule.learning_rate, "
                "set schedule.gradient_clip_norm, or check the normalization"
            )
        self.log("loss", loss, prog_bar=True)
        return loss

    def loss_on(self, batch: Sample, network: PSPNet) -> Tensor:
        """Loss of a batch: that of the main head, its share of the second head's, and its share of the teachers'."""
        how = self.training_config
        scores = network(batch.image.contiguous(memory_format=torch.channels_last))
        main, second = scores if isinstance(scores, tuple) else (scores, None)
        loss = loss_of(main, batch.labels, how.loss)
        if second is not None:
            loss = loss + how.network.auxiliary * loss_of(second, batch.labels, how.loss)
        if self._teachers is not None:
            loss = loss + how.teacher.weight * taught(main, self._teachers(batch.image), how.teacher.confident)
        return loss

    def validation_step(self, batch: Sample, index: int) -> None:
        """Count the labels of a batch."""
        self.confusion.update(self(batch.image).float().argmax(1), batch.labels)

    def on_validation_epoch_end(self) -> None:
        """IoU of each class, their mean, and mean Dice of all classes but the first."""
        matrix = self.confusion.compute().double()
        self.confusion.reset()
        hits, found, true = matrix.diag(), matrix.sum(0), matrix.sum(1)
        iou = hits / (found + true - hits).clamp(min=1)
        dice = 2 * hits / (found + true).clamp(min=1)
        self.log("mean_iou", iou.mean().float(), prog_bar=True)
        self.log("mean_dice", dice[1:].mean().float())
        for entry, value in zip(self.training_config.classes, iou, strict=True):
            self.log(f"iou {entry.name}", value.float())

    def configure_optimizers(self) -> Any:  # noqa: ANN401  (Lightning's own union)
        """SGD or AdamW with two rates, and their poly fall (section 5.1 of the paper)."""
        how = self.training_config.schedule
        groups = [
            {"params": list(_trainable(self.network, new=False)), "lr": how.rate},
            {"params": list(_trainable(self.network, new=True)), "lr": how.rate * how.new_layers},
        ]
        optimizer: Optimizer = (
            SGD(groups, momentum=how.momentum, weight_decay=how.decay)
            if how.optimizer == "sgd"
            else AdamW(groups, weight_decay=how.decay)
        )
        falling = LambdaLR(optimizer, lambda step: rate_factor(step, how))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": falling, "interval": "step"}}

    def _resting(self, network: PSPNet) -> Iterator[nn.Module]:
        yield from _frozen(network, self.training_config.network.frozen_stages)
        if self.training_config.network.frozen_norms:
            yield from (module for module in network.modules() if isinstance(module, _BatchNorm))


def coarser(spec: PSPNetSpec) -> PSPNetSpec:
    """The same network at twice the output stride; ValueError where there is none."""
    if spec.output_stride == 32:
        raise ValueError("schedule.coarse: must be 0, for there is nothing coarser than an output stride of 32")
    return replace(spec, output_stride=16 if spec.output_stride == 8 else 32)


def coarse_twin(network: PSPNet) -> PSPNet:
    """The network at twice its output stride, with the very same weights and batch norms: what one learns, both know.

    Dilation has no weights (section 3.1), so features of half the resolution go through the same filters.
    """
    twin = PSPNet(coarser(network.spec)).train(network.training)
    for name, module in twin.named_modules():
        other = network.get_submodule(name)
        module._parameters, module._buffers = other._parameters, other._buffers
    return twin


def _average(network: PSPNet, kept: float) -> AveragedModel | None:
    """A running average of weights and batch norms, of which `kept` stays at each step."""
    if not kept:
        return None
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(kept), use_buffers=True)  # type: ignore[no-untyped-call]
    return average.requires_grad_(requires_grad=False)


def rate_factor(step: int, how: Schedule) -> float:
    """What the rates are multiplied with at a step: up over the warm-up, and down as `(1 - step / steps) ** power`."""
    rising = min(1.0, (step + 1) / how.warm_up) if how.warm_up else 1.0
    return float(rising * max(0.0, 1 - step / how.steps) ** how.power)


def _frozen(network: PSPNet, stages: int) -> list[nn.Module]:
    return [network.stem, *(network.get_submodule(name) for name in network.layers)][:stages]


def _trainable(network: PSPNet, *, new: bool) -> Iterator[nn.Parameter]:
    """Parameters that learn: those of the pyramid and the heads, or those of the backbone."""
    for name, parameter in network.named_parameters():
        if parameter.requires_grad and name.startswith(("ppm.", "head.", "decoder.", "aux.")) == new:
            yield parameter
