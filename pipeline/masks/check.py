"""Compare the grid of a mask with that of its input, exactly or to a tolerance: each difference, with both values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.engine import Source
from pipeline.errors import RequestError
from pipeline.geometry import Grid
from pipeline.io.formats import look
from pipeline.io.mask_files import mask_info
from pipeline.io.opening import max_form_distance, open_source
from pipeline.io.raster.georeference import same_crs

Floats = NDArray[np.float64]
_SFORM = ("srow_x", "srow_y", "srow_z")
_QFORM = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
_UNITS = 7
"""Bits of NIfTI's `xyzt_units` for the unit of length."""


@dataclass(frozen=True)
class Difference:
    """A property in which the grids of a mask and its input differ."""

    what: str
    mask: Any
    """Value of the mask, as a JSON value."""
    input: Any
    apart: float | None = None
    """Distance between the farthest corners in world units: millimeters for volumes."""


def check(mask: str, like: str, tolerance: float = 0.0) -> list[Difference]:
    """Return the differences between the grids of a mask and of the input `like`; empty if they are the same.

    Shape, affine and CRS are compared. For NIfTI, these are sform and qform bit by bit, their codes and units; if only
    one of both is NIfTI, the affine in the float32 of its header. For scenes, control points and RPC coefficients are
    compared too; of control points, their places, in any order. The mask of a 4-D input may have one volume, and the
    bands of a layer count as one. Reads headers only.

    Args:
        mask: The mask.
        like: The input that it was made from.
        tolerance: Distance in cells by which corners and control points may be apart. Above 0, the affines of NIfTI
            that hold are compared in millimeters: the sform where it is coded, else the qform, and both where both
            files have both; how they are coded does not matter.

    Raises:
        InputError: If a file cannot be read.
        RequestError: If the tolerance is not a number from 0 on.

    """
    if not 0 <= tolerance < inf:
        raise RequestError(f"--tolerance {tolerance:g}: must be a number of cells from 0 on, e.g. 0.01")
    with ExitStack() as opened:
        ours, theirs = (opened.enter_context(closing(_open(path))) for path in (mask, like))
        one, other = ours.grid, theirs.grid
        if one.is_scene != other.is_scene:
            return [Difference("kind", _kind(one), _kind(other))]
        found = list(_values({"shape": list(one.shape)}, {"shape": list(other.shape)}))
        volumes = _volumes_of_mask(mask, ours), _volumes(theirs)
        if volumes[0] not in (1, volumes[1]):
            found.append(Difference("volumes", *volumes))
        if one.is_scene:
            return found + list(_of_scenes(one, other, tolerance))
        of_volumes = _of_forms(one, other) if tolerance else _of_volumes(one, other)
        return found + [each for each in of_volumes if not _is_within(each, other, tolerance)]


def _is_within(found: Difference, grid: Grid, tolerance: float) -> bool:
    return tolerance > 0 and found.apart is not None and found.apart <= tolerance * min(grid.spacing)


def _of_scenes(one: Grid, other: Grid, tolerance: float) -> Iterator[Difference]:
    words, others = (grid.reference.get("gdal") for grid in (one, other))
    if words is None or others is None:
        yield from (each for each in _affine(one, other) if not _is_within(each, other, tolerance))
        words, others = {"crs": one.crs}, {"crs": other.crs}
    elif words.get("transform") != others.get("transform"):
        apart = _max_distance(one, other) if words["transform"] and others["transform"] else None
        moved = Difference("transform", words["transform"], others["transform"], apart)
        yield from () if _is_within(moved, other, tolerance) else (moved,)
    for name in ("crs", "gcps_crs"):
        if not same_crs(words.get(name), others.get(name)):
            yield Difference(name, words.get(name), others.get(name))
    yield from _of_points(_points(words.get("gcps")), _points(others.get("gcps")), tolerance)
    yield from _values({"rpcs": words.get("rpcs")}, {"rpcs": others.get("rpcs")})


def _points(points: Sequence[Sequence[Any]] | None) -> Floats:
    """Return row, column, x, y and z of each control point, sorted; identifiers are renumbered by some formats."""
    places = (tuple(point[:5]) for point in points or ())
    return np.array(sorted(places, key=lambda place: (*map(round, place[:2]), *place)), np.float64).reshape(-1, 5)


def _of_points(ours: Floats, theirs: Floats, tolerance: float) -> Iterator[Difference]:
    if ours.shape == theirs.shape and (np.abs(ours - theirs) <= tolerance * _steps(theirs)).all():
        return
    apart = float(np.linalg.norm((ours - theirs)[:, 2:], axis=1).max()) if ours.shape == theirs.shape else None
    yield Difference("gcps", ours.tolist(), theirs.tolist(), apart)


def _steps(points: Floats) -> Floats:
    """Return the size of a cell along row, column, x, y and z: 1, 1, and the least that all points allow, `(5,)`."""
    if not len(points):
        return np.ones(5)
    ends = np.c_[points[:, :2], np.ones(len(points))]
    steps = np.abs(np.linalg.lstsq(ends, points[:, 2:], rcond=None)[0][:2]).max(0)
    return np.array([1.0, 1.0, steps[0], steps[1], steps[:2].max()])


def _of_forms(one: Grid, other: Grid) -> Iterator[Difference]:
    """Compare the affines that hold in millimeters, and the qforms too where both files have both forms."""
    yield from _affine(one, other)
    words, others = (grid.reference.get("nifti") for grid in (one, other))
    if words and others and all(of[f"{form}_code"] > 0 for of in (words, others) for form in ("sform", "qform")):
        yield Difference("qform", _qform(words), _qform(others), max_form_distance(one, other, "qform"))


def _of_volumes(one: Grid, other: Grid) -> Iterator[Difference]:
    words, others = (grid.reference.get("nifti") for grid in (one, other))
    if words is None or others is None:
        if words is others or _rounded(one) != _rounded(other):
            yield from _affine(one, other)
        return
    for form, parts in (("sform", _sform), ("qform", _qform)):
        if parts(words) != parts(others):
            yield Difference(form, parts(words), parts(others), max_form_distance(one, other, form))
    yield from _values(*({f"{form} code": of[f"{form}_code"] for form in ("sform", "qform")} for of in (words, others)))
    yield from _values(*({"units": of["xyzt_units"] & _UNITS} for of in (words, others)))


def _sform(words: Mapping[str, Any]) -> list[Any]:
    return [words[name] for name in _SFORM]


def _qform(words: Mapping[str, Any]) -> list[Any]:
    return [words["pixdim"][:4], [words[name] for name in _QFORM]]


def _affine(one: Grid, other: Grid) -> Iterator[Difference]:
    if one.affine != other.affine:
        yield Difference("affine", list(one.affine), list(other.affine), _max_distance(one, other))


def _rounded(grid: Grid) -> list[list[float]]:
    """Return the affine as float32, as a NIfTI header stores it."""
    rows: list[list[float]] = np.asarray(grid.affine, np.float32).tolist()
    return rows


def _max_distance(one: Grid, other: Grid) -> float:
    return one.max_corner_distance(other) * min(one.spacing)


def _values(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[Difference]:
    for name, value in ours.items():
        if value != theirs[name]:
            yield Difference(name, value, theirs[name])


def _kind(grid: Grid) -> str:
    return "scene" if grid.is_scene else "volume"


def _volumes(source: Source) -> int:
    return source.info.volumes


def _volumes_of_mask(path: str, source: Source) -> int:
    """Return the volumes of a mask; one for a layer, whose bands are volumes in its file."""
    count = _volumes(source)
    return 1 if count > 1 and look(path).is_path and len(mask_info(path).bands) == count else count


def _open(path: str) -> Source:
    item = look(path)
    return open_source(item, affine="sform", volume=item.first_volume)
