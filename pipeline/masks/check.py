"""Compare the grid of a mask with that of its input, exactly: each difference, with both values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.engine import Source
from pipeline.geometry import Grid
from pipeline.io.formats import look
from pipeline.io.opening import max_form_distance, open_source
from pipeline.io.raster.georeference import same_crs

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


def check(mask: str, like: str) -> list[Difference]:
    """Return the differences between the grids of a mask and of the input `like`; empty if they are exactly the same.

    Shape, affine and CRS are compared. For NIfTI, these are sform and qform bit by bit, their codes and units; if only
    one of both is NIfTI, the affine in the float32 of its header. For scenes, control points and RPC coefficients are
    compared too. The mask of a 4-D input may have one volume. Reads headers only.

    Raises:
        InputError: If a file cannot be read.

    """
    with ExitStack() as opened:
        ours, theirs = (opened.enter_context(closing(_open(path))) for path in (mask, like))
        one, other = ours.grid, theirs.grid
        if one.is_scene != other.is_scene:
            return [Difference("kind", _kind(one), _kind(other))]
        found = list(_values({"shape": list(one.shape)}, {"shape": list(other.shape)}))
        volumes = _volumes(ours), _volumes(theirs)
        if volumes[0] not in (1, volumes[1]):
            found.append(Difference("volumes", *volumes))
        return found + list(_of_scenes(one, other) if one.is_scene else _of_volumes(one, other))


def _of_scenes(one: Grid, other: Grid) -> Iterator[Difference]:
    words, others = (grid.reference.get("gdal") for grid in (one, other))
    if words is None or others is None:
        yield from _affine(one, other)
        words, others = {"crs": one.crs}, {"crs": other.crs}
    elif words.get("transform") != others.get("transform"):
        apart = _max_distance(one, other) if words["transform"] and others["transform"] else None
        yield Difference("transform", words["transform"], others["transform"], apart)
    for name in ("crs", "gcps_crs"):
        if not same_crs(words.get(name), others.get(name)):
            yield Difference(name, words.get(name), others.get(name))
    yield from _values(*({name: of.get(name) for name in ("gcps", "rpcs")} for of in (words, others)))


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


def _open(path: str) -> Source:
    item = look(path)
    return open_source(item, affine="sform", volume=item.first_volume)
