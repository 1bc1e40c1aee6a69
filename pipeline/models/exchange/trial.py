"""Try a network on noise: what it takes and what it gives, as far as the file does not say."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import ModelError, RequestError, first_of
from pipeline.models.card import Pair
from pipeline.models.exchange.graph import Graph, Port, Side
from pipeline.models.exchange.network import TYPES, as_input, as_planes
from pipeline.models.exchange.session import open_session, run
from pipeline.models.spec import Layout, Scores

_MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
_TRIED = 256
"""Pixels of the side of noise, at most, on which other sizes are tried."""
_SUMS = 1e-3
"""How far sums of probabilities may be from 1."""


@dataclass(frozen=True)
class Trial:
    """What a network takes and gives."""

    in_channels: int
    layout: Layout
    size: Pair | None
    """Height and width of the only patches that it takes."""
    batch: int | None
    """Patches of a call, if it takes no other number."""
    planes: int
    output_layout: Layout
    output_stride: int
    scores: Scores
    each_alone: bool
    """Whether probabilities of several planes do not sum to 1: each is of a sigmoid."""
    multiple: int


class _Axes(NamedTuple):
    layout: Layout
    channels: Side
    size: tuple[Side, Side]


class _Given(NamedTuple):
    """What noise gave."""

    planes: Tensor
    layout: Layout
    stride: int


def choose_ports(graph: Graph, output: str | None) -> tuple[Port, Port]:
    """Return the input of a graph, and the requested output or the only one.

    Raises:
        ModelError: if it takes several inputs, or something else than images.
        RequestError: if it has several outputs and none was requested, or has not the requested one.

    """
    if len(graph.inputs) > 1:
        listed = first_of([str(port) for port in graph.inputs])
        raise ModelError(f"{graph.path}: takes {len(graph.inputs)} inputs, not one image: {listed}")
    (source,) = graph.inputs
    if source.kind not in TYPES or len(source.shape) != 4:
        raise ModelError(
            f"{graph.path}: takes {source}, but images are given as (batch, channels, height, width) in one of "
            f"{', '.join(TYPES)}; export it with such an input (weights may be in int8)"
        )
    return source, _chosen_output(graph, output)


def _chosen_output(graph: Graph, name: str | None) -> Port:
    listed = first_of([str(port) for port in graph.outputs])
    if name is None and len(graph.outputs) > 1:
        raise RequestError(
            f"{graph.path}: has {len(graph.outputs)} outputs; choose the scores with --output-name: {listed}"
        )
    found = next((port for port in graph.outputs if name in (None, port.name)), None)
    if found is None:
        raise RequestError(f"--output-name {name}: {graph.path} has no such output; it has {listed}")
    return found


class Trials:
    """A network that is tried on noise."""

    def __init__(self, graph: Graph, source: Port, output: Port, channels: int | None) -> None:
        """Open the network of `graph`; `channels` is what the user says of their number.

        Raises:
            ModelError: if ONNX Runtime cannot compute it.
            RequestError: if the number of channels is unknown.

        """
        self._graph, self._source, self._output = graph, source, output
        self._session = open_session(graph)
        self._axes = _axes_of(source)
        self._channels = _channels(graph, self._axes, channels)
        self._batch = source.shape[0] if isinstance(source.shape[0], int) else None

    @property
    def channels(self) -> int:
        """Channels that it takes."""
        return self._channels

    def size(self, patch: Pair) -> Pair | None:
        """Return the only size of patches that it takes, of that of `patch` where only one side is fixed."""
        sides = self._axes.size
        if not any(isinstance(side, int) for side in sides):
            return None
        height, width = (side if isinstance(side, int) else own for side, own in zip(sides, patch, strict=True))
        return height, width

    def at(self, patch: Pair) -> Trial:
        """Try it on patches of a height and width.

        Raises:
            ModelError: if it cannot compute them, or gives something else than finite scores for each cell.

        """
        given = self._give(patch)
        scores, alone = self._scores_of(given.planes)
        size = self.size(patch)
        return Trial(
            in_channels=self._channels,
            layout=self._axes.layout,
            size=size,
            batch=self._batch,
            planes=int(given.planes.shape[1]),
            output_layout=given.layout,
            output_stride=given.stride,
            scores=scores,
            each_alone=alone,
            multiple=1 if size is not None else self._multiple(patch, given.stride),
        )

    def _give(self, patch: Pair) -> _Given:
        found = self._run(patch)
        sizes = ", ".join(map(str, found.shape))
        where = f"{self._graph.path}: for patches of {patch[0]} x {patch[1]}, its output {self._output.name}"
        if found.ndim not in (3, 4):
            raise ModelError(f"{where} has the shape {sizes}, not (batch, planes, height, width)")
        fits = {layout: stride for layout in _layouts(found.ndim) if (stride := _stride(found.shape, layout, patch))}
        if not fits:
            raise ModelError(
                f"{where} has the shape {sizes}: its cells are no whole part of the patch; give another --patch, or "
                "export it with padding that keeps sizes"
            )
        layout = self._axes.layout if self._axes.layout in fits else next(iter(fits))
        planes = as_planes(found, layout)
        if not planes.isfinite().all():
            raise ModelError(f"{where} has values that are not finite for noise")
        return _Given(planes, layout, fits[layout])

    def _run(self, patch: Pair) -> NDArray[Any]:
        shape = (self._batch or 1, self._channels, *patch)
        noise, kind = np.random.default_rng(0).standard_normal(shape, np.float32), TYPES[self._source.kind]
        if kind is np.uint8:
            noise = 128 + 50 * noise
        try:
            return run(self._session, self._source.name, self._output.name, as_input(noise, kind, self._axes.layout))
        except ArithmeticError as error:
            raise ModelError(
                f"{self._graph.path}: cannot compute patches of {patch[0]} x {patch[1]} ({error}); give another --patch"
            ) from error

    def _scores_of(self, planes: Tensor) -> tuple[Scores, bool]:
        """Return what planes are, and whether probabilities are each alone."""
        if not planes.is_floating_point():
            return "labels", False
        if planes.min() < 0 or planes.max() > 1:
            return "logits", False
        if planes.shape[1] > 1 and (planes.sum(1) - 1).abs().max() < _SUMS:
            return "probabilities", False
        return ("probabilities", True) if self._graph.last[self._output.name] == "Sigmoid" else ("logits", False)

    def _multiple(self, patch: Pair, stride: int) -> int:
        """Return what sides of patches must be multiples of: the least with which another size is computed too."""
        side = min(*patch, _TRIED)
        side -= side % _MULTIPLES[-1] if side > _MULTIPLES[-1] else 0
        for multiple in _MULTIPLES:
            if not any(length % multiple for length in patch) and self._takes((side, side + multiple), stride):
                return multiple
        return gcd(*patch)

    def _takes(self, size: Pair, stride: int) -> bool:
        try:
            return self._give(size).stride == stride
        except ModelError:
            return False


def _axes_of(source: Port) -> _Axes:
    """Return which axis has the channels: of two fixed ones the shorter, else the one that is fixed, else the first."""
    _, second, third, last = source.shape
    fixed = [side if isinstance(side, int) else None for side in (second, last)]
    ends = fixed[0] is None and fixed[1] is not None
    if ends or (fixed[0] is not None and fixed[1] is not None and fixed[1] < fixed[0]):
        return _Axes("channels_last", last, (second, third))
    return _Axes("channels_first", second, (third, last))


def _channels(graph: Graph, axes: _Axes, told: int | None) -> int:
    if isinstance(axes.channels, int):
        return axes.channels
    if told is not None or graph.kernels:
        return told or graph.kernels[0]
    raise RequestError(f"{graph.path}: does not say how many channels it takes; name them with --channels")


def _layouts(axes: int) -> tuple[Layout, ...]:
    return ("channels_first",) if axes == 3 else ("channels_first", "channels_last")


def _stride(shape: tuple[int, ...], layout: Layout, patch: Pair) -> int:
    """Return the pixels of a patch per cell of an output, if that is whole and the same for both sides; else 0."""
    height, width = shape[-2:] if layout == "channels_first" else shape[1:3]
    if not height or not width or patch[0] % height or patch[1] % width:
        return 0
    stride = patch[0] // height
    return stride if stride == patch[1] // width else 0
