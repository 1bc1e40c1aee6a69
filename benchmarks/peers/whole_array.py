"""Patches in batches from a DataLoader, blended in one array of the image's size, as tools around torchgeo do."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.peers.places import places
from pipeline.models.store import Model

BATCH = 4


class Patches(Dataset[tuple[Tensor, int, int]]):
    """Patches of an image `(channels, h, w)`, each with its first row and column."""

    def __init__(self, image: Tensor, patch: tuple[int, int], overlap: tuple[int, int]) -> None:
        height, width = image.shape[-2:]
        self._image = image
        self._patch = patch
        self._places = places((height, width), patch, overlap)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        (y, x), (height, width) = self._places[index], self._patch
        return self._image[:, y : y + height, x : x + width], y, x


def labels(image: Tensor, model: Model) -> Tensor:
    """Most likely classes `(h, w)` of an image `(1, channels, h, w)`."""
    (height, width), patch = image.shape[-2:], model.card.patch
    sums, totals = torch.zeros(len(model.card.classes), height, width), torch.zeros(height, width)
    window = torch.outer(*(_hann(side) for side in patch))
    for batch, ys, xs in DataLoader(Patches(image[0], patch, model.card.overlap), BATCH):
        for scores, y, x in zip(model.network(batch), ys.tolist(), xs.tolist(), strict=True):
            here = ..., slice(y, y + patch[0]), slice(x, x + patch[1])
            sums[here] += scores * window
            totals[here] += window
    return sums.div_(totals).argmax(0)


def _hann(side: int) -> Tensor:
    """Weights along one axis, none of them 0."""
    return torch.hann_window(side + 2, periodic=False)[1:-1]
