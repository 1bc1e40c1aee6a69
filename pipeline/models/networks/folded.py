"""The same network with less work, for inference: batch norms and the pooled part of the head are folded away.

Half of what the head's first convolution reads are levels of the pyramid, resized from a few cells. Convolution and
resize are linear, so their product is computed on the cells: one small matrix per tap, then one product with a basis
that depends on the sizes alone. For a ResNet-50 at 512 x 512 this leaves 282 of 357 GFLOP, and no concatenation.
"""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise
from math import isqrt
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipeline.models.networks.pspnet import PSPNet

Module = TypeVar("Module", bound=nn.Module)


class FoldedPSPNet(nn.Module):
    """What a `PSPNet` computes in evaluation mode: image `(n, in_channels, h, w)` to scores `(n, classes, h, w)`."""

    def __init__(self, network: PSPNet) -> None:
        """Copy `network`, which must be in evaluation mode."""
        super().__init__()
        spec = network.spec
        self.bins, self.align_corners = spec.bins, spec.align_corners
        folded = fuse_conv_bn(deepcopy(network))
        self.backbone = nn.Sequential(folded.stem, *(folded.get_submodule(name) for name in folded.layers))
        self.decoder, self._skips = folded.decoder, folded.skips
        self.levels = nn.ModuleList(nn.Sequential(*list(level.children())[1:]) for level in folded.ppm)
        first, *_, last = folded.head
        self.first, self.last = cast("nn.Conv2d", first), cast("nn.Conv2d", last)
        self.kernel = self.first.kernel_size[0]
        direct, levels = _parts(self.first.weight, len(spec.bins) * spec.ppm_channels, levels_first=spec.head == "smp")
        self.first.weight = nn.Parameter(direct.contiguous(), requires_grad=False)
        self.first.in_channels = direct.shape[1]
        self.taps = nn.ParameterList(
            nn.Parameter(part.permute(0, 2, 3, 1).flatten(0, 2).contiguous(), requires_grad=False)
            for part in torch.split(levels, spec.ppm_channels, 1)
        )
        self.eval()
        self._bases: dict[tuple[int, int], Tensor] = {}

    def forward(self, image: Tensor) -> Tensor:
        """Scores before softmax, at the size of the image, in float32 or wider whatever the network computes in."""
        return resized(self.coarse(image), image, align_corners=self.align_corners)

    def coarse(self, image: Tensor) -> Tensor:
        """The same scores at the stride of the features, or of the decoder: `(n, classes, h / stride, w / stride)`."""
        features, detail = self.features(image)
        scores = self._head(features, self.first(features))
        return scores if detail is None else added(scores, detail, align_corners=self.align_corners)

    def features(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the backbone makes of an image, and the decoder's scores at their own stride, if there is one."""
        x, passed = image, {}
        for number, layer in enumerate(self.backbone, -1):  # from the stem, before the layers
            x = layer(x)
            if number in self._skips:
                passed[number] = x
        return x, None if self.decoder is None else self.decoder(x, [passed[skip] for skip in self._skips])

    def trunk(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """What is computed cell by cell: features, and the head's first convolution of them without the pyramid.

        Scores of a decoder are channels more of the latter, `packed`, for which the sides of the image must be
        multiples of the output stride.
        """
        features, detail = self.features(image)
        direct = self.first(features)
        return features, direct if detail is None else packed(direct, detail)

    def head(self, features: Tensor, direct: Tensor) -> Tensor:
        """Coarse scores of what `trunk` gave, or of a part of it: the pyramid is pooled over that part."""
        direct, detail = unpacked(direct, self.first.out_channels, self.last.out_channels)
        scores = self._head(features, direct)
        return scores if detail is None else added(scores, detail, align_corners=self.align_corners)

    def _head(self, features: Tensor, direct: Tensor) -> Tensor:
        hidden = (direct + self._pooled(features).view_as(direct)).relu_()
        return as_scores(self.last(hidden))

    def _pooled(self, features: Tensor) -> Tensor:
        """The levels' share of the first convolution: `(n, head_channels, h w)`."""
        count, hidden = len(features), self.first.out_channels
        parts = []
        for cells, level, taps in zip(self._pool(features), self.levels, self.taps, strict=True):
            values = level(cells).flatten(2)
            parts.append((taps @ values).view(count, hidden, -1))
        return torch.cat(parts, 2) @ self._basis(features)

    def _pool(self, features: Tensor) -> list[Tensor]:
        """Features averaged to each level; from the finest level where its cells tile the others'."""
        height, width = features.shape[2:]
        finest = max(self.bins)
        nested = height % finest == 0 == width % finest and all(finest % side == 0 for side in self.bins)
        source = functional.adaptive_avg_pool2d(features, finest) if nested else features
        return [functional.adaptive_avg_pool2d(source, side) for side in self.bins]

    def _basis(self, features: Tensor) -> Tensor:
        height, width = int(features.shape[2]), int(features.shape[3])
        basis = self._bases.get((height, width))
        if basis is None or basis.dtype != features.dtype or basis.device != features.device:
            basis = level_basis(self.bins, (height, width), self.kernel, align_corners=self.align_corners)
            basis = self._bases[height, width] = basis.to(features)
        return basis


def as_scores(values: Tensor) -> Tensor:
    """Return values in float32, if they are of fewer bits."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def packed(direct: Tensor, detail: Tensor) -> Tensor:
    """Return the direct part `(n, c, h, w)` with the decoder's scores `(n, classes, t h, t w)` behind its channels."""
    return torch.cat([direct, functional.pixel_unshuffle(detail, detail.shape[2] // direct.shape[2])], 1)


def unpacked(direct: Tensor, hidden: int, classes: int) -> tuple[Tensor, Tensor | None]:
    """Return the first `hidden` channels of the direct part, and the decoder's scores that are `packed` behind them."""
    times = isqrt((direct.shape[1] - hidden) // classes)
    if times == 0:
        return direct, None
    return direct[:, :hidden], functional.pixel_shuffle(direct[:, hidden:], times)


def added(scores: Tensor, detail: Tensor, *, align_corners: bool) -> Tensor:
    """Return the scores of the head in the size of the decoder's, with these added."""
    size = int(detail.shape[2]), int(detail.shape[3])
    return resized_to(scores, size, align_corners=align_corners) + as_scores(detail)


def resized(scores: Tensor, image: Tensor, *, align_corners: bool) -> Tensor:
    """Coarse scores at the size of their image."""
    return resized_to(scores, (int(image.shape[2]), int(image.shape[3])), align_corners=align_corners)


def resized_to(scores: Tensor, size: tuple[int, int], *, align_corners: bool) -> Tensor:
    """Coarse scores at a height and width."""
    return functional.interpolate(scores, list(size), mode="bilinear", align_corners=align_corners)


def _parts(weight: Tensor, pooled: int, *, levels_first: bool) -> tuple[Tensor, Tensor]:
    """The filters of a convolution that read features, and those that read the `pooled` channels of the levels."""
    if levels_first:
        return weight[:, pooled:], weight[:, :pooled]
    return weight[:, :-pooled], weight[:, -pooled:]


def level_basis(bins: tuple[int, ...], size: tuple[int, int], kernel: int, *, align_corners: bool) -> Tensor:
    """What each cell of each level puts at each place `(h, w)`, resized bilinearly and seen through each tap.

    Float64 of shape `(kernel**2 * sum(side**2), h w)`; rows in the order level, tap, cell; taps read zeros outside.
    """
    height, width = size
    reach = kernel // 2
    rows = []
    for side in bins:
        cells = torch.eye(side * side, dtype=torch.float64).view(1, side * side, side, side)
        planes = functional.interpolate(cells, size, mode="bilinear", align_corners=align_corners)[0]
        padded = functional.pad(planes, (reach,) * 4)
        rows += [padded[:, y : y + height, x : x + width] for y in range(kernel) for x in range(kernel)]
    return torch.cat(rows).flatten(1)


def fuse_conv_bn(module: Module) -> Module:
    """Fold each batch norm into the convolution before it, in place; both in evaluation mode."""
    for child in module.children():
        fuse_conv_bn(child)
    for (before, convolution), (name, norm) in pairwise(list(module.named_children())):
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, before, fuse_conv_bn_eval(convolution, norm))
            setattr(module, name, nn.Identity())
    return module
