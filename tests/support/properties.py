"""The identity contract as a number, so that the properties and the planted faults measure the same thing."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.geometry import Lattice
from tests.support.fakes import ArraySource, Identity, swept


def axes(largest: int, *, slices: bool = False) -> Any:
    """Size from 1 to three patches + 1, patch, overlap from none to all but one cell, and margin of one axis."""
    patch = st.just(1) if slices else st.integers(1, largest)
    return patch.flatmap(
        lambda p: st.tuples(st.integers(1, 3 * p + 1), st.just(p), st.integers(0, p - 1), st.integers(0, 2))
    )


LATTICES_2D = st.tuples(axes(12), axes(12)).map(lambda pair: Lattice(*zip(*pair, strict=True)))
LATTICES_3D = st.tuples(axes(4) | axes(1, slices=True), axes(5), axes(5)).map(
    lambda triple: Lattice(*zip(*triple, strict=True))
)


def image(shape: tuple[int, ...], seed: int, channels: int = 2) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((channels, *shape), np.float32)


def identity_error(lattice: Lattice, kind: str, seed: int, height: int = 1 << 30) -> float:
    """Largest difference between an image and what an identity network makes of it."""
    values = image(lattice.shape, seed)
    result = swept(ArraySource(values), Identity(2, lattice.margin), lattice, window=kind, height=height)
    return float(np.abs(result - values).max())
