"""Inputs, networks and outputs in memory: the three protocols, checking what they are asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pipeline.engine import Labels, Pixels, Recipe, Scores, Source, SourceInfo, SweepObserver, sweep
from pipeline.geometry import Blocks, Box, Cut, Grid, Lattice, cut_slabs, split_runs


def grid_of(shape: tuple[int, ...]) -> Grid:
    side = len(shape) + 1
    eye = tuple(tuple(float(row == column) for column in range(side)) for row in range(side))
    return Grid(shape, eye, ("z", "y", "x")[-len(shape) :])


@dataclass
class ArraySource(Source):
    """An array `(channels, *shape)` as an input; refuses boxes outside of it, and records what was read."""

    values: NDArray[Any]
    valid: NDArray[np.bool_] | None = None
    block: tuple[int, ...] = (1, 1, 1)
    reads: list[Box] = field(default_factory=list)
    sequential: ClassVar[bool] = False

    @property
    def info(self) -> SourceInfo:
        return SourceInfo(self.grid, len(self.values), self.values.dtype, self.block, self.sequential)

    @property
    def grid(self) -> Grid:
        return grid_of(self.values.shape[1:])

    def read(self, box: Box) -> Pixels:
        if not Box.whole(self.grid.shape).contains(box):
            raise IndexError(f"{box} is outside of {self.grid.shape}")
        self.reads.append(box)
        valid = None if self.valid is None else self.valid[box.slices].copy()
        return Pixels(self.values[(slice(None), *box.slices)].copy(), valid)

    def close(self) -> None:
        pass


@dataclass
class Identity:
    """A network whose scores are its channels at the patch's own cells."""

    classes: int
    margin: tuple[int, ...]
    batch: int = 1
    threads: int = 2

    def __call__(self, values: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        inner = tuple(slice(m, n - m) for m, n in zip(self.margin, values.shape[2:], strict=True))
        return values[(slice(None), slice(None), *inner)].astype(np.float32)


@dataclass
class BlockIdentity:
    """A network that is given blocks, and whose scores are its channels at the cells of each patch."""

    classes: int
    threads: int = 2

    def pieces(
        self, values: NDArray[Any], valid: NDArray[np.bool_] | None, cuts: Sequence[Cut]
    ) -> Sequence[NDArray[Any]]:
        features = self.features(values)
        return [features[(slice(None), *cut.place.slices)] for cut in cuts]

    def features(self, values: NDArray[Any]) -> NDArray[Any]:
        return values

    def joined(self, pieces: Sequence[NDArray[Any]], cuts: Sequence[Cut]) -> NDArray[Any]:
        whole = np.empty((len(pieces[0]), *cuts[0].patch), pieces[0].dtype)
        for piece, cut in zip(pieces, cuts, strict=True):
            whole[(slice(None), *cut.part.slices)] = piece
        return whole

    def scores(self, joined: NDArray[Any]) -> NDArray[np.float32]:
        return joined.astype(np.float32)


@dataclass
class ArraySink:
    """An array as an output; refuses to be written twice."""

    values: NDArray[Any]
    written: NDArray[np.bool_]

    @classmethod
    def like(cls, planes: tuple[int, ...], shape: tuple[int, ...], dtype: Any) -> ArraySink:
        return cls(np.zeros((*planes, *shape), dtype), np.zeros(shape, np.bool_))

    def write(self, slab: Box, values: Sequence[NDArray[Any]], *, whole: bool = True) -> None:
        if self.written[slab.slices].any():
            raise ValueError(f"{slab} is written twice")
        self.written[slab.slices] = True
        (self.values[(..., *slab.slices)],) = values


def swept(
    source: ArraySource,
    predictor: Any,
    lattice: Lattice,
    *,
    window: str = "gaussian",
    height: int = 1 << 30,
    width: int | None = None,
    parts: int = 1,
    labels: bool = False,
    observer: SweepObserver | None = None,
    blocks: Blocks | None = None,
) -> NDArray[Any]:
    """Sweep a whole source in runs and return what was written; every cell must have been."""
    decision: Any = Labels() if labels else Scores((predictor.classes,))
    sink = ArraySink.like(decision.planes, source.grid.shape, decision.dtype)
    for run in split_runs(cut_slabs(source.grid.shape, height, width), parts):
        sweep(source, predictor, sink, Recipe(lattice, window, (decision,), blocks), run, observer or SweepObserver())
    if not sink.written.all():
        raise ValueError("some cells were never written")
    return sink.values
