"""The identity contract as a number, so that the properties and the planted faults measure the same thing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import Lattice
from pipeline.testing import lattices
from tests.support.fakes import ArraySource, Identity, swept

LATTICES_2D, LATTICES_3D = lattices(2), lattices(3)


def image(shape: tuple[int, ...], seed: int, channels: int = 2) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random((channels, *shape), np.float32)


def identity_error(lattice: Lattice, kind: str, seed: int, height: int = 1 << 30) -> float:
    """Largest difference between an image and what an identity network makes of it."""
    values = image(lattice.shape, seed)
    result = swept(ArraySource(values), Identity(2, lattice.margin), lattice, window=kind, height=height)
    return float(np.abs(result - values).max())
