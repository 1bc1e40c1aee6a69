"""Inference with `mode="slide"` as mmsegmentation's EncoderDecoder computes it: each crop padded to the whole image."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from benchmarks.peers.places import places
from pipeline.models.store import Model


def labels(image: Tensor, model: Model) -> Tensor:
    """Most likely classes `(h, w)` of an image `(1, channels, h, w)`."""
    return _scores(image, model)[0].argmax(0)


def _scores(image: Tensor, model: Model) -> Tensor:
    """The mean score of all crops that hold a pixel."""
    height, width = image.shape[-2:]
    preds = image.new_zeros(1, len(model.card.classes), height, width)
    count_mat = image.new_zeros(1, 1, height, width)
    for y, x in places((height, width), model.card.patch, model.card.overlap):
        bottom, right = min(y + model.card.patch[0], height), min(x + model.card.patch[1], width)
        scores = model.network(image[..., y:bottom, x:right])
        preds += functional.pad(scores, (x, width - right, y, height - bottom))
        count_mat[..., y:bottom, x:right] += 1
    return preds / count_mat
