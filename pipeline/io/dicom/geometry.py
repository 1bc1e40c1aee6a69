"""Stack slices to a volume: their order, even spacing, and grid. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError, counted
from pipeline.geometry import Grid
from pipeline.geometry.affine import from_directions
from pipeline.io.dicom.headers import Slice

_UNEVEN = 0.05
"""Slices by which one may be off its place in an even stack: the effect of rounded positions."""
_SHIFTED = 0.5
"""Pixels by which the last slice may be offset from the first, and any slice from the line between them."""
_TURNED = 1e-3
"""By which direction cosines may differ."""
_FROM_LPS = (-1, -1, 1)
"""From left and posterior, where DICOM's axes point, to right and anterior."""

Vectors = NDArray[np.float64]


def stack(slices: Sequence[Slice]) -> tuple[tuple[Slice, ...], Grid]:
    """Return the slices of one series in order along their normal, and their grid: RAS+, exact to the tags.

    Raises:
        InputError: Slices differ in shape or direction, are at the same position, missing, uneven, or sheared as if by
            a tilted gantry; each with its own code.

    """
    _check_alike(slices)
    normal = _normal(slices[0])
    depths = np.array([one.position for one in slices]) @ normal
    order = np.argsort(depths, kind="stable")
    ordered = tuple(slices[at] for at in order)
    step = normal * ordered[0].thickness
    if len(ordered) > 1:
        _check_depths(depths[order], ordered)
        places = np.array([one.position for one in ordered])
        step = (places[-1] - places[0]) / (len(places) - 1)
        _check_tilt(places, step, normal, min(ordered[0].spacing))
    if not step.any():
        raise InputError("is one slice of a thickness of 0 mm; set SliceThickness to its true value")
    return ordered, _grid(ordered, step)


def _grid(ordered: Sequence[Slice], step: Vectors) -> Grid:
    first = ordered[0]
    row, column = np.reshape(first.orientation, (2, 3))
    down, across = first.spacing
    affine = from_directions([row * across, column * down, step], first.position, _FROM_LPS)
    return Grid((len(ordered), *first.shape), affine, ("z", "y", "x"))


def _normal(one: Slice) -> Vectors:
    row, column = np.reshape(one.orientation, (2, 3))
    lengths = np.linalg.norm([row, column], axis=1)
    if max(abs(lengths - 1).max(), abs(row @ column)) > _TURNED:
        raise InputError(f"has rows and columns along {row.tolist()} and {column.tolist()}, not at right angles")
    if min(one.spacing) <= 0:
        raise InputError(f"has pixels of {one.spacing} mm (PixelSpacing); set their true size")
    normal = np.cross(row, column)
    return np.asarray(normal / np.linalg.norm(normal), np.float64)


def _check_alike(slices: Sequence[Slice]) -> None:
    first = slices[0]
    for one in slices:
        if one.shape != first.shape:
            raise InputError(
                f"has slices of {first.shape[0]} x {first.shape[1]} ({first.file}) and of {one.shape[0]} x "
                f"{one.shape[1]} ({one.file}); put those of one kind into a folder of their own",
                "mixed-slices",
            )
        if not np.allclose(one.orientation, first.orientation, atol=_TURNED, rtol=0):
            raise InputError(
                f"has slices in several directions: {list(first.orientation)} ({first.file}) and "
                f"{list(one.orientation)} ({one.file}); put those of one direction into a folder of their own",
                "mixed-slices",
            )
        if not np.allclose(one.spacing, first.spacing, rtol=_TURNED, atol=0):
            raise InputError(
                f"has slices with pixels of {list(first.spacing)} mm ({first.file}) and of {list(one.spacing)} mm "
                f"({one.file}); put those of one size into a folder of their own",
                "mixed-slices",
            )


def _check_depths(depths: Vectors, ordered: Sequence[Slice]) -> None:
    gaps = np.diff(depths)
    usual = float(np.median(gaps))
    same = gaps < max(usual, float(gaps.max()) / len(ordered)) * 0.01 if gaps.any() else np.ones(len(gaps), bool)
    if same.any():
        at = int(np.argmax(same))
        more = counted(int(same.sum()), "slice")
        raise InputError(
            f"has {more} too many: {_named(ordered[at])} and {_named(ordered[at + 1])} are both "
            f"at {depths[at]:.3f} mm; put one of each, one time or one echo, into a folder of its own",
            "duplicate-slices",
        )
    even = np.linspace(depths[0], depths[-1], len(depths))
    if np.abs(depths - even).max() <= _UNEVEN * (even[1] - even[0]):
        return
    steps = np.rint(gaps / usual)
    if steps.min() >= 1 and np.abs(gaps - steps * usual).max() <= 2 * _UNEVEN * usual and steps.max() > 1:
        at = int(np.argmax(steps > 1))
        missing = counted(int((steps - 1).sum()), "slice")
        raise InputError(
            f"lacks {missing}: slices are {usual:.3f} mm apart, but {gaps[at]:.3f} mm between "
            f"{_named(ordered[at])} at {depths[at]:.3f} and {_named(ordered[at + 1])} at {depths[at + 1]:.3f} mm; "
            "fetch the series again from where it came",
            "missing-slices",
        )
    at = int(np.argmax(np.abs(gaps - usual)))
    raise InputError(
        f"has slices {gaps.min():.3f} to {gaps.max():.3f} mm apart, {usual:.3f} mm as a rule; between "
        f"{_named(ordered[at])} at {depths[at]:.3f} and {_named(ordered[at + 1])} at {depths[at + 1]:.3f} mm it is "
        f"{gaps[at]:.3f} mm; resample it to even slices first, e.g. with 3D Slicer",
        "uneven-slices",
    )


def _check_tilt(places: Vectors, step: Vectors, normal: Vectors, pixel: float) -> None:
    shift = step - (step @ normal) * normal
    aside = float(np.linalg.norm(shift))
    if aside * (len(places) - 1) > _SHIFTED * pixel:
        angle = np.degrees(np.arctan2(aside, abs(float(step @ normal))))
        raise InputError(
            f"is sheared, as if by a gantry tilted by {angle:.2f} degrees: each slice is offset by {aside:.3f} mm from "
            "the one before; make an upright volume first, e.g. with `dcm2niix`, and segment that",
            "gantry-tilt",
        )
    off = places - places[0] - np.outer(np.arange(len(places)), step)
    off -= np.outer(off @ normal, normal)
    most = float(np.linalg.norm(off, axis=1).max())
    if most > _SHIFTED * pixel:
        raise InputError(
            f"has slices offset by up to {most:.3f} mm from each other, with pixels of {pixel:.3f} mm; put those of "
            "one stack into a folder of their own",
            "mixed-slices",
        )


def _named(one: Slice) -> str:
    return f"{one.file} frame {one.frame + 1}" if one.frame else one.file
