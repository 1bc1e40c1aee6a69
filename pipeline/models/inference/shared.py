"""PSPNet behind the engine's `BlockPredictor`: features of a block once, the pyramid of each patch by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.engine.arrays import HOST, Arrays
from pipeline.errors import ModelError
from pipeline.geometry import Cut
from pipeline.models.card import Pair
from pipeline.models.inference.cpu import one_thread
from pipeline.models.inference.feature_cells import FeatureCells, Slices
from pipeline.models.inference.fit import Scaling
from pipeline.models.inference.gpu import current_device
from pipeline.models.inference.halves import Halves
from pipeline.models.inference.passes import blended_of, mean_of, resample, stack_slices, turned, unturned
from pipeline.models.inference.runtime import InferenceModel
from pipeline.models.inference.tensor_arrays import TensorArrays
from pipeline.models.inference.tta import NO_AUGMENTATION, TTA
from pipeline.models.inference.units import Units
from pipeline.models.networks.folded import resized_to


@dataclass(frozen=True)
class _Share:
    """What a block gives to a part of a patch in one pass."""

    pooled: Tensor
    """What it adds to the averages over the cells of the pyramid, `(1, cells, c)`."""
    direct: Tensor
    """Its direct part of the head, `(1, c, h, w)`."""


@dataclass(frozen=True)
class Piece:
    """What a block gives to a patch that lies in other blocks too."""

    shares: tuple[_Share, ...]
    """For each pass."""

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(share.pooled.nbytes + share.direct.nbytes for share in self.shares)


@dataclass(frozen=True)
class Joined:
    """What the scores of a patch are made of."""

    coarse: tuple[Tensor, ...]
    """For each pass, coarse scores `(1, classes, h, w)`, turned back."""
    patch: tuple[int, ...]
    """Shape of the patch."""

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(coarse.nbytes for coarse in self.coarse)


class SharedPredictor:
    """A `BlockPredictor` for one input: scales its values, meets the model's spacing, runs the network.

    On a CPU a call computes one block on one thread, so that bytes do not depend on how many calls run at once.
    """

    classes: int
    threads: int
    arrays: Arrays

    def __init__(
        self,
        model: InferenceModel,
        scaling: Scaling,
        units: Units,
        *,
        augmentation: TTA = NO_AUGMENTATION,
        threads: int | None = None,
    ) -> None:
        """Set up for an input with a lattice in `units`; as many `threads` as there are cores if None.

        Raises:
            ModelError: if the runtime of the model cannot compute features by themselves.

        """
        self.classes = len(model.card.classes)
        self.threads = (threads or os.cpu_count() or 1) if model.numerics.on_cpu else 1
        self._device = torch.device(model.numerics.device)
        self.arrays = HOST if model.numerics.on_cpu else TensorArrays(self._device)
        self._halves = _halves_of(model)
        self._card, self._scaling = model.card, scaling
        self._passes = [
            FeatureCells(units.native, units.at(scale), units.stride, turn)
            for scale in augmentation.scales
            for turn in augmentation.turns
        ]

    def pieces(
        self, values: NDArray[Any], valid: NDArray[np.bool_] | None, cuts: Sequence[Cut]
    ) -> Sequence[Piece | Joined]:
        """Return what a block of values `(channels, *seen)` gives to each patch; to whole ones, coarse scores."""
        scaled = self._scaling(values[None], None if valid is None else valid[None])
        with self._computing():
            image = stack_slices(scaled).to(self._device)
            passes = [self._given(image, cells, cuts) for cells in self._passes]
        return [_piece(cut, given) for cut, given in zip(cuts, zip(*passes, strict=True), strict=True)]

    def joined(self, pieces: Sequence[Piece | Joined], cuts: Sequence[Cut]) -> Joined:
        """Return the coarse scores of a patch: its averages are summed up, its direct parts put in place."""
        first = pieces[0]
        if isinstance(first, Joined):
            return first
        with self._computing():
            shares = zip(*(piece.shares for piece in pieces if isinstance(piece, Piece)), strict=True)
            coarse = [self._join(cells, given, cuts) for cells, given in zip(self._passes, shares, strict=True)]
        return Joined(tuple(coarse), cuts[0].patch)

    def scores(self, joined: Joined) -> Any:  # noqa: ANN401  (of `arrays`)
        """Return scores `(classes, h, w)`, or `(classes, 1, h, w)` for volumes."""
        with self._computing():
            both = zip(joined.coarse, self._passes, strict=True)
            passes = (self._on_cells(coarse, cells, joined.patch) for coarse, cells in both)
            scores = mean_of(passes, len(joined.coarse))
        planes = scores[0] if self._card.kind == "scene" else scores[0][:, None]
        return planes.numpy() if self.arrays is HOST else planes

    def _on_cells(self, coarse: Tensor, cells: FeatureCells, patch: tuple[int, ...]) -> Tensor:
        resized = resized_to(coarse, cells.pixels(patch), align_corners=self._halves.align_corners)
        return blended_of(resample(resized, (patch[-2], patch[-1])), self._card)

    def _given(self, image: Tensor, cells: FeatureCells, cuts: Sequence[Cut]) -> list[_Share | Tensor]:
        """Return what a pass gives to each patch: coarse scores of whole ones, shares of others."""
        resampled = resample(image, cells.pixels(image.shape))
        with self._halves.trunk(turned(resampled, cells.turn)) as (features, direct):
            strips = _Strips(direct)
            return [self._give(features, strips, cells, cut, image.shape) for cut in cuts]

    def _give(
        self, features: Tensor, strips: _Strips, cells: FeatureCells, cut: Cut, seen: Sequence[int]
    ) -> _Share | Tensor:
        """Return what a pass gives to a patch, of a block of the shape `seen`."""
        at, part = cells.slices(cut.place, seen), cells.slices(cut.part, cut.patch)
        head, size = self._halves.head, cells.size(cut.patch)
        pooled = head.pooled(features[(..., *at)], list(zip(size, part, strict=True)))
        if cut.complete:
            return unturned(head.scores(pooled, strips.whole[(..., *at)]), cells.turn)
        return _Share(pooled, strips.cut(at, size))

    def _join(self, cells: FeatureCells, shares: Sequence[_Share], cuts: Sequence[Cut]) -> Tensor:
        like = shares[0].direct
        size = (1, like.shape[1], *cells.size(cuts[0].patch))
        direct = torch.empty(size, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)
        for share, cut in zip(shares, cuts, strict=True):
            direct[(..., *cells.slices(cut.part, cut.patch))] = share.direct
        wide = torch.promote_types(like.dtype, torch.float32)
        pooled = reduce(torch.add, (share.pooled.to(wide) for share in shares)).to(like.dtype)
        return unturned(self._halves.head.scores(pooled, direct), cells.turn)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        where: AbstractContextManager[object] = (
            one_thread() if self._device.type == "cpu" else current_device(self._device)
        )
        with where, torch.inference_mode():
            yield


def _halves_of(model: InferenceModel) -> Halves:
    if model.halves is None:
        raise ModelError(
            f"model {model.card.name}: features cannot be shared with runtime {model.numerics.runtime}; "
            "give --runtime torch, or --features patch"
        )
    return model.halves


class _Strips:
    """Copies of whole rows and columns of the direct part of a block: patches share them, and no more of it is kept."""

    def __init__(self, whole: Tensor) -> None:
        self.whole = whole
        """The direct part, not copied."""
        self._strips: dict[tuple[int, int, int], Tensor] = {}

    def cut(self, at: Slices, patch: Pair) -> Tensor:
        """Return the part `at` some rows and columns, which lacks some of those of its `patch`."""
        rows, columns = at
        if rows.stop - rows.start < patch[0]:
            return self._strip(2, rows)[..., columns]
        return self._strip(3, columns)[..., rows, :]

    def _strip(self, axis: int, side: slice) -> Tensor:
        key = axis, side.start, side.stop
        if key not in self._strips:
            part = self.whole.narrow(axis, side.start, side.stop - side.start)
            self._strips[key] = part.clone(memory_format=torch.channels_last)
        return self._strips[key]


def _piece(cut: Cut, given: Sequence[_Share | Tensor]) -> Piece | Joined:
    """Return what all passes give to a patch."""
    if cut.complete:
        return Joined(tuple(each for each in given if isinstance(each, Tensor)), cut.patch)
    return Piece(tuple(each for each in given if isinstance(each, _Share)))
