"""A CT phantom: an ellipsoid body with organs of known shape, slice by slice."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.samples.noise import Floats, Ints, key, random_bits

PHANTOM_CLASSES = ("background", "liver", "kidney", "spine")
"""Classes of a phantom, by label."""
PHANTOM_AFFINE = (
    (0.8, 0.0, 0.0, -90.0),
    (0.0, 0.768, -0.7, -80.0),
    (0.0, 0.224, 2.4, -60.0),
    (0.0, 0.0, 0.0, 1.0),
)
"""Affine of a phantom: voxel index `(i, j, k)` = `(x, y, z)` to RAS+ millimeters; 0.8 x 0.8 x 2.5 mm, tilted."""

_AIR, _LUNG, _FAT, _MUSCLE = -1000, -820, -90, 45


class _Organ(NamedTuple):
    label: int
    hounsfield: int
    center: tuple[float, float, float]
    """`(z, y, x)`, from -1 to 1 across the volume."""
    radius: tuple[float, float, float]


_BODY = _Organ(0, _FAT, (0.0, 0.0, 0.0), (2.2, 0.8, 0.92))
_ORGANS = (
    _Organ(0, _MUSCLE, (0.0, 0.0, 0.0), (2.0, 0.66, 0.78)),
    _Organ(0, _LUNG, (0.75, 0.1, -0.36), (0.5, 0.38, 0.24)),
    _Organ(0, _LUNG, (0.75, 0.1, 0.36), (0.5, 0.38, 0.24)),
    _Organ(1, 110, (0.0, 0.15, 0.38), (0.42, 0.4, 0.34)),
    _Organ(2, 190, (-0.35, -0.3, -0.36), (0.3, 0.15, 0.13)),
    _Organ(2, 190, (-0.38, -0.3, 0.36), (0.3, 0.15, 0.13)),
    _Organ(3, 420, (0.0, -0.46, 0.0), (3.0, 0.14, 0.13)),
)


def phantom_slices(
    start: int, stop: int, shape: tuple[int, int, int], *, seed: int = 0
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Return HU and labels, `(stop - start, ny, nx)`, of slices `start..stop` of the phantom `(nz, ny, nx)` of `seed`.

    Labels are indices into `PHANTOM_CLASSES`.

    Raises:
        ValueError: if the slices are not in the shape.

    """
    if not 0 <= start <= stop <= shape[0]:
        raise ValueError(
            f"a phantom of shape {shape} has no slices {start}..{stop}: need 0 <= start <= stop <= {shape[0]}"
        )
    values = np.empty((stop - start, *shape[1:]), np.int16)
    labels = np.empty(values.shape, np.uint8)
    organs = tuple(_vary(organ, at, seed) for at, organ in enumerate(_ORGANS))
    for z in range(start, stop):
        values[z - start], labels[z - start] = _slice(z, shape, organs, seed)
    return values, labels


def _vary(organ: _Organ, at: int, seed: int) -> _Organ:
    bits = random_bits(key(seed, 110 + at), np.arange(6))
    shift, scale = bits[:3] / 2**32 * 0.08 - 0.04, bits[3:] / 2**32 * 0.2 + 0.9
    z, y, x = (float(a + b) for a, b in zip(organ.center, shift, strict=True))
    dz, dy, dx = (float(a * b) for a, b in zip(organ.radius, scale, strict=True))
    return organ._replace(center=(z, y, x), radius=(dz, dy, dx))


def _slice(
    z: int, shape: tuple[int, int, int], organs: tuple[_Organ, ...], seed: int
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    labels = np.zeros(shape[1:], np.uint8)
    values = np.where(_covers(_BODY, z, shape), np.float32(_BODY.hounsfield), np.float32(_AIR))
    for organ in organs:
        inside = _covers(organ, z, shape)
        values[inside], labels[inside] = organ.hounsfield, organ.label
    values += _grain(z, np.arange(shape[1]), np.arange(shape[2]), seed)
    return np.clip(np.rint(values), -1024, 3071).astype(np.int16), labels


def _covers(organ: _Organ, z: int, shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Which cells of slice `z` are in the organ, `(ny, nx)`."""
    dz, dy, dx = (
        ((2 * at + 1) / size - 1 - center) / radius
        for at, size, center, radius in zip(
            (np.array([z]), np.arange(shape[1]), np.arange(shape[2])), shape, organ.center, organ.radius, strict=True
        )
    )
    inside: NDArray[np.bool_] = (dy * dy)[:, None] + (dx * dx)[None, :] < 1 - dz * dz
    return inside


def _grain(z: int, rows: Ints, cols: Ints, seed: int) -> Floats:
    """Noise of about 18 HU, nearly normal: the sum of four bytes per voxel."""
    bits = random_bits(key(seed, 100), np.array([z])[:, None], rows[:, None], cols[None, :])
    total = np.zeros(bits.shape, np.float32)
    for shift in range(0, 32, 8):
        total += (bits >> np.uint32(shift) & np.uint32(255)).astype(np.float32)
    return (total - np.float32(510)) * np.float32(0.12)
