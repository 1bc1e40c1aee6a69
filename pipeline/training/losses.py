"""Losses: cross-entropy, optionally with soft Dice; and what a teacher's probabilities say."""

from __future__ import annotations

from math import inf

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.training.config import Loss
from pipeline.training.patch import IGNORE

NEAR = 2
"""Pixels to a boundary that count as near."""


def loss_of(scores: Tensor, labels: Tensor, how: Loss) -> Tensor:
    """Loss of scores `(n, classes, h, w)` against class numbers `(n, h, w)`, in float32; 0 if nothing is labeled.

    Cross-entropy averaged over labeled pixels (weighted by class and by how near another class is, if the loss has
    weights; only over the hardest ones, if it says so), plus `how.dice` times the soft Dice loss (Milletari et al.
    2016, arXiv:1606.04797, without squares) over the whole batch.
    """
    scores = scores.float()
    seen = labels != IGNORE
    if not seen.any():
        return scores.sum() * 0
    weights = torch.tensor(how.class_weights, device=scores.device) if how.class_weights else None
    if how.boundary == how.hardest == 1:
        entropy = functional.cross_entropy(
            scores, labels, weight=weights, ignore_index=IGNORE, label_smoothing=how.smoothing
        )
    else:
        entropy = _chosen(scores, labels, weights, how)
    return entropy + how.dice * soft_dice(scores, labels) if how.dice else entropy


def _chosen(scores: Tensor, labels: Tensor, weights: Tensor | None, how: Loss) -> Tensor:
    """The mean over the hardest labeled pixels, of which those near another class weigh `how.boundary`."""
    seen = labels != IGNORE
    each = functional.cross_entropy(
        scores, labels, weight=weights, ignore_index=IGNORE, label_smoothing=how.smoothing, reduction="none"
    )[seen]
    weight = torch.where(near_another(labels)[seen], how.boundary, 1.0)
    by_class = torch.ones_like(each) if weights is None else weights[labels[seen]]
    hardest = (each.detach() / by_class.clamp(min=1e-12)).topk(max(1, round(how.hardest * len(each)))).indices
    return (each * weight)[hardest].sum() / (by_class * weight)[hardest].sum()


def near_another(labels: Tensor) -> Tensor:
    """Whether a pixel of `(n, h, w)` has another class at most `NEAR` pixels down and across; `IGNORE` is none."""
    side = 2 * NEAR + 1
    seen, numbers = labels != IGNORE, labels.float()
    highest = functional.max_pool2d(numbers.where(seen, -inf)[:, None], side, 1, NEAR)[:, 0]
    lowest = -functional.max_pool2d((-numbers).where(seen, -inf)[:, None], side, 1, NEAR)[:, 0]
    return seen & (highest != lowest)


def taught(scores: Tensor, target: Tensor, confident: float = 0.0) -> Tensor:
    """Cross-entropy of scores against a teacher's probabilities, both `(n, classes, h, w)`, in float32.

    Averaged over the pixels whose most likely class has at least the probability `confident`; 0 if there are none.
    """
    entropy = -(target * scores.float().log_softmax(1)).sum(1)
    sure = (target.amax(1) >= confident).float()
    return (entropy * sure).sum() / sure.sum().clamp(min=1)


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
