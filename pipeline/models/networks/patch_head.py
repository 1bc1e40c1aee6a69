"""The head of a folded network for one patch of features that several patches share, by small products alone.

Pooling and resizing act on rows and columns separately, so each is a product with a small matrix along one axis and
then along the other. For a patch of 32 x 32 features of a ResNet-18 this takes a fifth of the time that
`FoldedPSPNet.head` takes, which matters where patches overlap much: the head is what remains to be done for each.

Pooling is linear too: what parts of a patch add to its cells is summed, and features are needed no longer than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.models.networks.folded import FoldedPSPNet, added, as_scores, unpacked

Part = Sequence[tuple[int, slice]]
"""For rows and columns: how many a patch has, and which of them are there."""


class _Axis(NamedTuple):
    """What is done along one axis of a patch of `n` features; one matrix for each level of the pyramid."""

    pool: Tensor
    """`(cells of all levels, n)`: the average over each cell."""
    resize: tuple[Tensor, ...]
    """`(n, kernel * cells)`: what each cell, read through each tap, adds to each place."""


class PatchHead:
    """Features and direct part of a patch to coarse scores, as `FoldedPSPNet.head` but for the rounding.

    Both are `(n, c, h, w)`, fastest with channels last; scores are `(n, classes, h, w)`, float32 or wider. The head of
    the whole is `scores(pooled(features), direct)`.
    """

    def __init__(self, network: FoldedPSPNet) -> None:
        """Use the head of `network`; its backbone is not kept."""
        self._bins, self._kernel, self._align_corners = network.bins, network.kernel, network.align_corners
        self._levels, self._last = list(network.levels), network.last
        self._hidden = network.first.out_channels
        self._taps = [_by_input(taps, self._hidden, network.kernel) for taps in network.taps]
        self._axes: dict[int, _Axis] = {}

    def __call__(self, features: Tensor, direct: Tensor) -> Tensor:
        """Return the coarse scores of a patch."""
        return self.scores(self.pooled(features), direct)

    def pooled(self, features: Tensor, part: Part | None = None) -> Tensor:
        """Return the averages of a patch over the cells of all levels, `(n, cells, c)`.

        If `features` are those of a `part` of it, this is what they add to the averages.
        """
        (height, down), (width, along) = part or [(length, slice(None)) for length in features.shape[2:]]
        rows, columns, sides = self._axis(height, features), self._axis(width, features), list(self._bins)
        lines = rows.pool[:, down] @ features.permute(0, 2, 3, 1).flatten(2)
        levels = torch.split(lines.view(len(features), sum(sides), features.shape[3], -1), sides, 1)
        pools = torch.split(columns.pool[:, along], sides)
        return torch.cat([(pool @ level).flatten(1, 2) for pool, level in zip(pools, levels, strict=True)], 1)

    def scores(self, pooled: Tensor, direct: Tensor) -> Tensor:
        """Return the coarse scores of a patch by the averages over its cells and its direct part."""
        own, detail = unpacked(direct, self._hidden, self._last.out_channels)
        hidden = (own + self._spread(pooled, direct.shape[2], direct.shape[3])).relu_()
        scores = as_scores(self._last(hidden))
        return scores if detail is None else added(scores, detail, align_corners=self._align_corners)

    def _spread(self, pooled: Tensor, height: int, width: int) -> Tensor:
        """Return what the levels add to the first convolution: `(n, head_channels, h, w)`."""
        rows, columns = self._axis(height, pooled), self._axis(width, pooled)
        levels = torch.split(pooled, [side**2 for side in self._bins], 1)
        spread = [self._across(at, level, columns) for at, level in enumerate(levels)]
        summed = torch.cat(rows.resize, 1) @ torch.cat(spread, 1).flatten(2)
        return summed.view(len(pooled), -1, width, self._hidden).permute(0, 3, 1, 2)

    def _across(self, level: int, pooled: Tensor, columns: _Axis) -> Tensor:
        """Return a level `(n, cells, c)` seen through its taps and resized along rows: `(n, kernel * side, w, c)`."""
        count, side, kernel = len(pooled), self._bins[level], self._kernel
        cells = pooled.view(count, side, side, -1).permute(0, 3, 1, 2)
        values: Tensor = self._levels[level](cells).permute(0, 2, 3, 1)
        taps = (values @ self._taps[level]).view(count, side, side, kernel, kernel, self._hidden)
        by_tap = taps.permute(0, 3, 1, 4, 2, 5).reshape(count, kernel * side, kernel * side, self._hidden)
        return columns.resize[level] @ by_tap

    def _axis(self, length: int, like: Tensor) -> _Axis:
        if length not in self._axes:
            pool = torch.cat([_averages(side, length) for side in self._bins])
            resize = [_resize(side, length, self._kernel, align_corners=self._align_corners) for side in self._bins]
            self._axes[length] = _Axis(_sent(pool, like), tuple(_sent(matrix, like) for matrix in resize))
        return self._axes[length]


def _sent(matrix: Tensor, like: Tensor) -> Tensor:
    """Return a matrix in the numbers of `like`, on its device, which may have no float64."""
    return matrix.to(like.dtype).to(like.device)


def _by_input(taps: Tensor, hidden: int, kernel: int) -> Tensor:
    """Return filters `(hidden * taps, c)` as `(c, taps * hidden)`."""
    return taps.view(hidden, kernel, kernel, -1).permute(3, 1, 2, 0).flatten(1).contiguous()


def _averages(cells: int, length: int) -> Tensor:
    """Return the matrix `(cells, length)` of adaptive average pooling along one axis, in float64."""
    places = torch.eye(length, dtype=torch.float64)
    return functional.adaptive_avg_pool1d(places, cells).mT


def _resize(cells: int, length: int, kernel: int, *, align_corners: bool) -> Tensor:
    """Return the matrix `(length, kernel * cells)` of a linear resize seen through each tap, in float64."""
    one = torch.eye(cells, dtype=torch.float64)[None]
    line = functional.interpolate(one, length, mode="linear", align_corners=align_corners)[0]
    padded = functional.pad(line, (kernel // 2,) * 2)
    return torch.cat([padded[:, tap : tap + length] for tap in range(kernel)]).mT.contiguous()
