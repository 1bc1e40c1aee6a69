"""Losses: cross-entropy, optionally with soft Dice."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.training.config import Loss
from pipeline.training.patch import IGNORE


def loss_of(scores: Tensor, labels: Tensor, how: Loss) -> Tensor:
    """Loss of scores `(n, classes, h, w)` against class numbers `(n, h, w)`, in float32; 0 if nothing is labeled.

    Cross-entropy averaged over labeled pixels (weighted by class, if the loss has weights), plus `how.dice` times the
    soft Dice loss (Milletari et al. 2016, arXiv:1606.04797, without squares) over the whole batch.
    """
    scores = scores.float()
    seen = labels != IGNORE
    if not seen.any():
        return scores.sum() * 0
    weights = torch.tensor(how.class_weights, device=scores.device) if how.class_weights else None
    entropy = functional.cross_entropy(
        scores, labels, weight=weights, ignore_index=IGNORE, label_smoothing=how.smoothing
    )
    return entropy + how.dice * soft_dice(scores, labels) if how.dice else entropy


def soft_dice(scores: Tensor, labels: Tensor) -> Tensor:
    """One minus the mean over classes of `2 hits / (found + true)`, over the labeled pixels of a batch.

    A class that is neither there nor expected counts as right: one is added above and below.
    """
    seen = labels != IGNORE
    shares = scores.softmax(1) * seen[:, None]
    truth = functional.one_hot(labels.clamp(min=0), scores.shape[1]).movedim(-1, 1) * seen[:, None]
    hits = (shares * truth).sum((0, 2, 3))
    sizes = shares.sum((0, 2, 3)) + truth.sum((0, 2, 3))
    return 1 - ((2 * hits + 1) / (sizes + 1)).mean()
