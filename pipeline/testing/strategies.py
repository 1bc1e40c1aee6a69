"""Hypothesis strategies for boxes, grids and lattices."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from pipeline.geometry import Box, Grid, Lattice


def boxes(shape: tuple[int, ...]) -> st.SearchStrategy[Box]:
    """Draw boxes of at least one cell inside a grid of `shape`."""
    return st.tuples(*map(_spans, shape)).map(_box)


def grids(axes: int = 2, *, longest: int = 20) -> st.SearchStrategy[Grid]:
    """Draw grids of two or three axes of up to `longest` cells: rotated, sheared and mirrored, anywhere."""
    shapes = st.tuples(*[st.integers(1, longest)] * axes)
    return st.builds(_grid, shapes, st.integers(0, 2**32 - 1))


def lattices(axes: int = 2) -> st.SearchStrategy[Lattice]:
    """Draw lattices on grids from one cell to three patches and a cell: any overlap, margins up to 2.

    Patches of volumes have a few slices, or one like those of a network.
    """
    if axes == 2:
        return st.tuples(_lattice_axes(12), _lattice_axes(12)).map(_lattice)
    return st.tuples(_lattice_axes(4) | _lattice_axes(1), _lattice_axes(5), _lattice_axes(5)).map(_lattice)


Span = tuple[int, int]
LatticeAxis = tuple[int, int, int, int]


def _spans(length: int) -> st.SearchStrategy[Span]:
    """A start and a later stop in an axis of `length`."""
    return st.integers(0, length - 1).flatmap(lambda start: st.tuples(st.just(start), st.integers(start + 1, length)))


def _box(spans: tuple[Span, ...]) -> Box:
    starts, stops = zip(*spans, strict=True)
    return Box(starts, stops)


def _grid(shape: tuple[int, ...], seed: int) -> Grid:
    rng, axes = np.random.default_rng(seed), len(shape)
    turned = np.linalg.qr(rng.normal(size=(axes, axes)))[0]
    sheared = np.eye(axes) + np.triu(rng.uniform(-0.1, 0.1, (axes, axes)), 1)
    affine = np.eye(axes + 1)
    affine[:axes, :axes] = turned @ sheared @ np.diag(rng.uniform(0.3, 8, axes))
    affine[:axes, axes] = rng.uniform(-500, 500, axes)
    return Grid(shape, tuple(tuple(map(float, row)) for row in affine), ("z", "y", "x")[-axes:])


def _lattice_axes(largest: int) -> st.SearchStrategy[LatticeAxis]:
    """Size, patch, overlap and margin along an axis."""
    return st.integers(1, largest).flatmap(
        lambda patch: st.tuples(
            st.integers(1, 3 * patch + 1), st.just(patch), st.integers(0, patch - 1), st.integers(0, 2)
        )
    )


def _lattice(axes: tuple[LatticeAxis, ...]) -> Lattice:
    shape, patch, overlap, margin = zip(*axes, strict=True)
    return Lattice(shape, patch, overlap, margin)
