"""Compare an input with what its model was trained on, by rules that have names; docs/concepts/domain.md explains them.

What headers say is compared before a run, and values by a sample. An input that is far away gives a remark; one whose
values cannot be what the model takes is refused, unless the user says how they are scaled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.engine import Pixels
from pipeline.errors import InputError
from pipeline.geometry import Box, Grid
from pipeline.geometry.orientation import canonical
from pipeline.io.raster.clipped import ClippedSource
from pipeline.io.raster.placement import HOW_TO_PLACE, ground_spacing
from pipeline.models.card import Appearance, Card, Range
from pipeline.models.inference.unlikeness import Unlikeness, unlikeness_of
from pipeline.runs.prepared import PreparedJob
from pipeline.runs.report import Remark
from pipeline.sources.appearance import finer_by, looks_of, sampled

RESOLUTION, SPACING, VIEW = 1.25, 3.0, 1.5
"""Factors beyond the range of a card from which a pixel, a voxel or a whole volume is far from it."""
ENLARGED = 4.0
"""Factor by which patches are enlarged for a model of finer pixels from which the pixels are far from those."""
ROOM = 0.1
"""Share of a range of values that may lie beyond its ends; not below 0 if the range does not."""
REFUSED, TOLD = 0.5, 0.05
"""Shares of sampled values beyond the range of a card from which an input is refused, or told."""
TINY, SMALL = 0.02, 0.05
"""Shares of the largest value of a card below which nearly all values are refused, if they are real, or told."""
_PLACES = 3
"""Samples of a scene along each side."""
UNLIKE = 1.5
"""Distance of how values look, in units of that of training inputs from each other, from which it is told."""
_HOW_TO_SCALE = (
    "bring them to that range with --scale and --offset, or say with --scale 1 that they are meant as they are"
)


@dataclass(frozen=True)
class DomainComparison:
    """In what an input is far from what its models were trained on."""

    remarks: tuple[Remark, ...]
    distance: float | None
    """How far its values look from those of the training, see `Unlikeness`; the largest of several models."""


def remarks_on(prepared: PreparedJob, *, refuse: bool = True) -> tuple[Remark, ...]:
    """Return the remarks of `compare_domain`."""
    return compare_domain(prepared, refuse=refuse).remarks


def compare_domain(prepared: PreparedJob, *, refuse: bool = True) -> DomainComparison:
    """Compare an input with what its models were trained on.

    Raises:
        InputError: It is to be refused, more than half of a channel's values are outside of those that the model was
            trained on, or they are real and tiny beside those, and the user gives no scale.

    """
    found = [_of_model(prepared, member.card, refuse=refuse) for member in prepared.members]
    distances = [one.distance for one in found if one.distance is not None]
    return DomainComparison(tuple(remark for one in found for remark in one.remarks), max(distances, default=None))


def _of_model(prepared: PreparedJob, card: Card, *, refuse: bool) -> DomainComparison:
    remarks = list((_of_scene if prepared.grid.is_scene else _of_volume)(card, prepared.grid))
    domain, unlike = card.domain, None
    if domain is not None and (domain.values or domain.appearance is not None):
        finer = finer_by(card.spacing, prepared.views[0].spacing) if prepared.grid.is_scene else 1
        samples = _samples(prepared, finer)
        remarks += _of_values(prepared, card, samples, refuse=refuse)
        unlike = None if domain.appearance is None else _unlikeness(samples, domain.appearance, finer)
    if unlike is not None and unlike.distance > UNLIKE:
        remarks.append(_of_appearance(card, unlike))
    return DomainComparison(tuple(remarks), None if unlike is None else round(unlike.distance, 3))


def _unlikeness(samples: Sequence[Pixels], appearance: Appearance, finer: int) -> Unlikeness | None:
    looks = looks_of(samples, finer)
    return None if looks is None else unlikeness_of(looks, appearance)


def _of_appearance(card: Card, unlike: Unlikeness) -> Remark:
    return Remark(
        "appearance",
        f"values do not look like those that the model {card.name} was trained on, most of all the {unlike.measure} of "
        f"{card.channels[unlike.channel]} ({unlike.distance:.1f} times as far as its inputs are from each other); look "
        "at the mask before you use it, or train on such inputs",
    )


def _of_values(prepared: PreparedJob, card: Card, samples: Sequence[Pixels], *, refuse: bool) -> Iterator[Remark]:
    """Yield a remark on the channel whose sampled values are the farthest from those of the model."""
    domain = card.domain
    if domain is None or not domain.values or card.normalization.by_input:
        return
    by_channel = zip(card.channels, _values_of(samples), domain.values, strict=True)
    found = [fault for channel, values, trained in by_channel if (fault := _fault(channel, values, trained))]
    for fault in sorted(found, key=lambda fault: not fault.grave)[:1]:
        message = f"{fault.shown}; {_HOW_TO_SCALE}"
        if fault.grave and refuse and prepared.job.scale is None and prepared.job.offset is None:
            raise InputError(f"{prepared.job.name}: {message} (value-range)", "unsuitable")
        yield Remark("value-range", message)


def _of_scene(card: Card, grid: Grid) -> Iterator[Remark]:
    trained = None if card.domain is None else card.domain.ground_resolution
    if card.spacing is None and trained is None:
        return
    ground = ground_spacing(grid)
    if ground is None and card.spacing is not None:
        yield Remark(
            "unknown-units",
            f"the model {card.name} works at {_size(card.spacing)} m, and the scene has no CRS, so its pixels of "
            f"{_size(grid.spacing)} are taken to be in meters; {HOW_TO_PLACE}",
        )
    if ground is not None:
        yield from _of_pixel(card, grid, ground)


def _of_pixel(card: Card, grid: Grid, ground: tuple[float, float]) -> Iterator[Remark]:
    """Yield a remark on pixels that are `ground` meters high and wide, if they are far from those of the model."""
    trained = None if card.domain is None else card.domain.ground_resolution
    side = float(np.sqrt(ground[0] * ground[1]))
    if trained is not None and side > trained[1] * RESOLUTION:
        way_out = "what is smaller than a pixel cannot be found; use a model for such pixels"
    elif trained is not None and side < trained[0] / RESOLUTION and card.spacing is None:
        way_out = f"make them {trained[0]:g} m with --resolution {_resolution(grid, ground, trained[0])}"
    elif trained is None and any(
        here > own * ENLARGED for here, own in zip(ground, card.spacing or ground, strict=True)
    ):
        trained, way_out = (min(card.spacing or ground),) * 2, "use a model for such pixels"
    else:
        return
    made_for = f"{trained[0]:g} m" if trained[0] == trained[1] else f"{trained[0]:g} to {trained[1]:g} m"
    yield Remark(
        "ground-resolution",
        f"pixels are {side:.3g} m on the ground, and the model {card.name} was made for {made_for}; {way_out}",
    )


def _resolution(grid: Grid, ground: tuple[float, float], side: float) -> str:
    """Return pixels of `side` meters in units of the CRS, as `--resolution` takes them."""
    height, width = (f"{own / here * side:.4g}" for own, here in zip(grid.spacing, ground, strict=True))
    return height if height == width else f"{height},{width}"


def _of_volume(card: Card, grid: Grid) -> Iterator[Remark]:
    if card.domain is None:
        return
    order, _ = canonical(grid, "axial", orientation=card.orientation or "RAS")
    spacing = [grid.spacing[axis] for axis in order][::-1]
    view = [grid.spacing[axis] * grid.shape[axis] for axis in order][::-1]
    if _is_far(view, card.domain.field_of_view, VIEW):
        yield Remark(
            "field-of-view",
            f"the volume is {_size(view)} mm, and the model {card.name} was trained on "
            f"{_ranges(card.domain.field_of_view)} mm (x, y, z); crop it to such a part first",
        )
    if _is_far(spacing, card.domain.spacing, SPACING):
        yield Remark(
            "voxel-spacing",
            f"voxels are {_size(spacing)} mm, and the model {card.name} was trained on {_ranges(card.domain.spacing)} "
            "mm (x, y, z); what is smaller than a voxel cannot be found",
        )


def _is_far(lengths: Sequence[float], ranges: Sequence[Range], factor: float) -> bool:
    return bool(ranges) and any(
        not low / factor <= length <= high * factor for length, (low, high) in zip(lengths, ranges, strict=True)
    )


class _Fault(NamedTuple):
    """In what values are far from those that a model was trained on."""

    grave: bool
    """Whether they cannot be what it takes."""
    shown: str


def _fault(channel: str, values: NDArray[Any], trained: Range) -> _Fault | None:
    if not values.size:
        return None
    (low, high), real = trained, values.dtype.kind == "f"
    values, room = values.astype(np.float64), ROOM * (high - low)
    lowest = low - room if low < 0 else max(0.0, low - room)
    beyond = float(np.mean((values < lowest) | (values > high + room)))
    largest = float(np.percentile(np.abs(values), 99)) / max(abs(low), abs(high), np.finfo(float).tiny)
    ends = " to ".join(f"{value:.4g}" for value in np.percentile(values, [1, 99]))
    shown = f"values of {channel} are about {ends}, and the model was trained on {low:g} to {high:g}"
    if beyond > TOLD:
        return _Fault(beyond > REFUSED, shown)
    return _Fault(real and largest < TINY, shown) if largest < SMALL else None


def _samples(prepared: PreparedJob, finer: int) -> list[Pixels]:
    """Return samples from all over an input, or from the middle of a stream."""
    source, region = prepared.reading.open(prepared.input), prepared.region
    whole = Box.whole(source.grid.shape)
    within = whole if region is None else region.within(whole)
    with closing(source if region is None else ClippedSource(source, region)) as clipped:
        return sampled(clipped, within, _PLACES, finer)


def _values_of(samples: Sequence[Pixels]) -> list[NDArray[Any]]:
    """Return the valid, finite values other than 0 of each channel."""
    parts: list[list[NDArray[Any]]] = [[] for _ in samples[0].values]
    for pixels in samples:
        for plane, seen in zip(pixels.values, parts, strict=True):
            values = plane.ravel() if pixels.valid is None else plane[pixels.valid]
            seen.append(values[np.isfinite(values) & (values != 0)])
    return [np.concatenate(seen) for seen in parts]


def _size(lengths: Sequence[float]) -> str:
    return " x ".join(f"{length:.3g}" for length in lengths)


def _ranges(ranges: Sequence[Range]) -> str:
    return " x ".join(f"{low:g}" if low == high else f"{low:g}..{high:g}" for low, high in ranges)
