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
from pipeline.geometry import Box
from pipeline.models.card import Pair
from pipeline.models.inference.cpu import one_thread
from pipeline.models.inference.fit import Scaling
from pipeline.models.inference.gpu import current_device
from pipeline.models.inference.halves import Halves
from pipeline.models.inference.passes import resample, stack_slices, turned, unturned
from pipeline.models.inference.runtime import InferenceModel
from pipeline.models.inference.tensor_arrays import TensorArrays
from pipeline.models.inference.tta import NO_AUGMENTATION, TTA, Turn
from pipeline.models.inference.units import Units
from pipeline.models.networks.folded import resized_to


@dataclass(frozen=True)
class Part:
    """What the scores of a patch are made of."""

    coarse: tuple[tuple[Pair, Tensor], ...]
    """For each scale and turn, height and width in model pixels, and coarse scores `(1, classes, h, w)`."""
    size: Pair
    """Height and width of the patch in cells of the input."""


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
        self._card, self._scaling, self._units, self._augmentation = model.card, scaling, units, augmentation

    def parts(self, values: NDArray[Any], valid: NDArray[np.bool_] | None, places: Sequence[Box]) -> Sequence[Part]:
        """Return what is left to do for each patch at `places` in a block of values `(channels, *seen)`."""
        scaled = self._scaling(values[None], None if valid is None else valid[None])
        with self._computing():
            image = stack_slices(scaled).to(self._device)
            passes = [self._coarse(image, scale, places) for scale in self._augmentation.scales]
        sizes = [(place.shape[-2], place.shape[-1]) for place in places]
        return [Part(tuple(one for scale in passes for one in scale[at]), size) for at, size in enumerate(sizes)]

    def scores(self, part: Part) -> Any:  # noqa: ANN401  (of `arrays`)
        """Return scores `(classes, h, w)`, or `(classes, 1, h, w)` for volumes."""
        with self._computing():
            passes = (self._on_cells(coarse, seen, part.size) for seen, coarse in part.coarse)
            scores = reduce(torch.add, passes) / len(part.coarse)
        planes = scores[0] if self._card.kind == "scene" else scores[0][:, None]
        return planes.numpy() if self.arrays is HOST else planes

    def _on_cells(self, coarse: Tensor, seen: Pair, size: Pair) -> Tensor:
        scores = resample(resized_to(coarse, seen, align_corners=self._halves.align_corners), size)
        return scores.softmax(1) if self._card.averaging == "softmax" else scores

    def _coarse(self, image: Tensor, scale: float, places: Sequence[Box]) -> list[list[tuple[Pair, Tensor]]]:
        """Return for each place what each turn gives at one scale."""
        unit = self._units.at(scale)
        height, width = (
            length // native * side
            for length, native, side in zip(image.shape[-2:], self._units.native, unit, strict=True)
        )
        resampled = resample(image, (height, width))
        found: list[list[tuple[Pair, Tensor]]] = [[] for _ in places]
        for turn in self._augmentation.turns:
            features, direct = self._halves.trunk(turned(resampled, turn))
            for place, passes in zip(places, found, strict=True):
                seen = self._seen(place, unit)
                cut = _turned_slices(seen, (height, width), turn, self._units.stride)
                coarse = self._halves.head(features[cut], direct[cut])
                passes.append(((seen[0].stop - seen[0].start, seen[1].stop - seen[1].start), unturned(coarse, turn)))
        return found

    def _seen(self, place: Box, unit: Pair) -> tuple[slice, slice]:
        """Return the model pixels of a patch in the block."""
        rows, columns = (
            slice(start // native * side, stop // native * side)
            for start, stop, native, side in zip(
                place.start[-2:], place.stop[-2:], self._units.native, unit, strict=True
            )
        )
        return rows, columns

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


def _turned_slices(seen: tuple[slice, slice], size: Pair, turn: Turn, stride: int) -> tuple[slice, ...]:
    """Return where the features of pixels `seen`, of an image of `size`, are in those of the turned image."""
    sides = [(seen[0], size[0]), (seen[1], size[1])]
    if turn.swapped:
        sides.reverse()
    return (
        slice(None),
        slice(None),
        *(
            _cells(_mirrored(side, length) if axis in turn.flipped else side, stride)
            for axis, (side, length) in zip((-2, -1), sides, strict=True)
        ),
    )


def _mirrored(side: slice, length: int) -> slice:
    return slice(length - side.stop, length - side.start)


def _cells(side: slice, stride: int) -> slice:
    return slice(side.start // stride, side.stop // stride)
