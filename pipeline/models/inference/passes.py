"""The passes of a patch: resampled to each scale, turned each way, through the network and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.models.card import Card, Pair
from pipeline.models.inference.fit import Floats, model_patch
from pipeline.models.inference.runtime import InferenceModel
from pipeline.models.inference.tta import NO_AUGMENTATION, TTA, Turn


def scores_of(
    model: InferenceModel,
    native_spacing: tuple[float, float] | None,
    image: Tensor,
    augmentation: TTA = NO_AUGMENTATION,
) -> Tensor:
    """Scores `(n, classes, h, w)` on the pixels of scaled patches `(n, channels, h, w)` of an input.

    Each turn at each scale of `augmentation` gives probabilities, or logits if the card blends those. They are brought
    back to the patch's pixels and averaged in float32, in one order.
    """
    passes = _passes(model, native_spacing, image, augmentation)
    return mean_of(passes, len(augmentation.scales) * len(augmentation.turns))


def mean_of(passes: Iterable[Tensor], count: int) -> Tensor:
    """Return the mean of the scores of `count` passes, added in order."""
    total = reduce(torch.add, passes)
    return total if count == 1 else total / count


def _passes(
    model: InferenceModel, native_spacing: tuple[float, float] | None, image: Tensor, augmentation: TTA
) -> Iterator[Tensor]:
    native = int(image.shape[-2]), int(image.shape[-1])
    for size in augmentation.sizes(model_patch(model.card, native_spacing, native)):
        resampled = resample(image, size)
        for turn in augmentation.turns:
            scores = resample(unturned(model.network(turned(resampled, turn)), turn), native)
            yield blended_of(scores, model.card)


def blended_of(scores: Tensor, card: Card) -> Tensor:
    """Return what is blended of a network's scores: probabilities at the card's temperature, or logits as they are.

    The temperature of logits changes no label, so it is applied where they become probabilities.
    """
    if card.averaging == "logits":
        return scores
    return (scores / card.divisor if card.calibrated else scores).softmax(1)


def turned(x: Tensor, turn: Turn) -> Tensor:
    """Return `x` as it is seen in a turn."""
    swapped = x.mT if turn.swapped else x
    return swapped.flip(turn.flipped).contiguous() if turn.swapped or turn.flipped else x


def unturned(x: Tensor, turn: Turn) -> Tensor:
    """Return what was turned as it was before."""
    straight = x.flip(turn.flipped) if turn.flipped else x
    return straight.mT if turn.swapped else straight


def image_of(card: Card, native_spacing: tuple[float, float] | None, scaled: Floats) -> Tensor:
    """What the network is given, `(n, in_channels, h, w)`, for scaled patches `(n, channels, *seen)` of an input."""
    stacked = stack_slices(scaled)
    return resample(stacked, model_patch(card, native_spacing, (int(stacked.shape[-2]), int(stacked.shape[-1]))))


def stack_slices(scaled: Floats) -> Tensor:
    """Return `(n, channels * slices, h, w)` for scaled values `(n, channels, *seen)`."""
    return torch.from_numpy(scaled.reshape(len(scaled), -1, *scaled.shape[-2:]))


def resample(x: Tensor, size: Pair) -> Tensor:
    """Return `x` at another height and width, averaged where it shrinks."""
    if x.shape[-2:] == size:
        return x
    return functional.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
