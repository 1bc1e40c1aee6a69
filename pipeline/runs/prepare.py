"""Prepare a job: everything is checked and filled in before the first patch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.engine import Source
from pipeline.engine.windows import window as checked_window
from pipeline.errors import InputError, ModelError, RequestError, counted
from pipeline.files.object_path import ObjectPath, OutputPath
from pipeline.geometry import Box, Grid, Region
from pipeline.geometry.orientation import Orientation
from pipeline.io.address import output_folder
from pipeline.io.band_names import HasBands, listed
from pipeline.io.formats import Input
from pipeline.io.mask_files import check_output
from pipeline.io.opening import input_version
from pipeline.io.suffixes import stem_of
from pipeline.io.versions import snapshot
from pipeline.jobs.job import Job, Resources
from pipeline.jobs.layers import layers_of
from pipeline.jobs.read_options import InputRequirements, ReadOptions, resolve_read_options
from pipeline.models.card import Card
from pipeline.models.inference.fit import int8_form
from pipeline.models.inference.numerics import REFERENCE, Numerics
from pipeline.models.inference.tta import TTA
from pipeline.models.spec import ONNXSpec, PSPNetSpec
from pipeline.optional import need
from pipeline.runs.limits import check_held, check_shape, check_space
from pipeline.runs.members import Member, load_members
from pipeline.runs.own import NOTHING, Own
from pipeline.runs.prepared import PreparedJob, bytes_per_cell
from pipeline.runs.view_sweep import Averaging, sweeps_of
from pipeline.runs.views import Spacing, View, views_for

DEFAULTS = {True: "landcover", False: "hippocampus"}
"""Default model by whether the input is a scene."""

_MANY = 500
"""Patches below which no run is worth a compiler."""


def prepare(job: Job, resources: Resources, own: Own = NOTHING) -> PreparedJob:
    """Check a job against its input and its model, and fill in what it leaves open; reads headers only.

    `own` is what a program brings itself in place of them.

    Raises:
        RequestError: If the options contradict each other or the input.
        InputError: If the input cannot be read, or does not suit the model.
        ModelError: If the model is for another kind of input.

    """
    job = job.plain()
    item = own.input_of(job)
    began_with = snapshot(item)
    asked = _user_read_options(job, item)
    source = asked.open(item)
    try:
        job = _without_unused(job, source)
        check_shape(job.name, source.grid.shape)
        members = own.members_of(source, job) or load_members(job.models or (DEFAULTS[source.grid.is_scene],))
        card = members[0].card
        _check_kind(source, card, job)
        found = resolve_read_options(source, job.name, _input_requirements(card, job))
        reading = replace(asked, bands=found.bands, calibration=found.calibration, windows=found.windows)
        source = reading.apply(source, item)
        _check_channels(source, card, job)
        output = job.output or default_output(job.input, source.grid)
        check_output(source.grid, output, layers=bool(job.also))
        _check_distinct(item, output)
        own.check_output(output, resources)
        views = views_for(source, card, _features_of(members, job), _ground(source.grid, members, job))
        augmentation = TTA.of(job.tta)
        for view in views:
            for member in members:
                seen = view.input_size_of(member.card)
                augmentation.check(seen)
                for size in augmentation.sizes(seen):
                    member.card.check_seen(size)
        prepared = PreparedJob(
            job=replace(job, output=output, model=tuple(member.model for member in members)).plain(),
            input=item,
            version=input_version(item, job.series),
            members=members,
            grid=source.grid,
            views=views,
            staged=any(_needs_staging(source, view.orientation, resources) for view in views),
            region=_region(job, source.grid),
            window=_window(job.window or card.window),
            augmentation=augmentation,
            reading=reading,
            channels=source.channels,
            itemsize=source.dtype.itemsize,
            numerics=_numerics(own, members, views, augmentation, resources),
            held=source.info.held,
            layers=layers_of(job.also, card),
            began_with=began_with,
            own=own,
        )
        if _needs_strips(prepared, resources) and source.info.sequential:
            prepared = replace(prepared, staged=True)
        _check_sweeps(prepared, resources)
        return prepared
    finally:
        source.close()


def _numerics(
    own: Own, members: Sequence[Member], views: tuple[View, ...], augmentation: TTA, resources: Resources
) -> Numerics:
    """Return the numerics of models; a network that a program brings has its own, of which nothing is known."""
    if own.predictor is not None:
        return REFERENCE
    return numerics_for([member.card for member in members], views, augmentation, resources)


def _features_of(members: Sequence[Member], job: Job) -> Job:
    """Return the job with features of patches by themselves, if there are several models.

    Raises:
        RequestError: If it asks for shared ones.

    """
    if len(members) == 1:
        return job
    if job.features == "shared":
        raise RequestError("--features shared: is for one model; leave it out to average the scores of several")
    return replace(job, features="patch")


def _ground(grid: Grid, members: Sequence[Member], job: Job) -> Spacing | None:
    """Return the size of a scene's pixels in meters on the ground, if there is a model that has a spacing.

    The units of a transform without a CRS are taken to be meters; `pipeline.runs.domain` says so.
    """
    card = next((member.card for member in members if member.card.spacing is not None), None)
    if not grid.is_scene or card is None or card.spacing is None:
        return None
    from pipeline.io.raster.placement import HOW_TO_PLACE, assumed_spacing

    if (found := assumed_spacing(grid)) is None:
        raise InputError(
            f"{job.name}: the model {card.name} works at pixels of {card.spacing[0]:g} m, but the size of these on the "
            f"ground is unknown (no transform in a CRS); {HOW_TO_PLACE}",
            "unsuitable",
        )
    return found


def _check_sweeps(prepared: PreparedJob, resources: Resources) -> None:
    """Raise if a sweep needs more than this machine has, or cannot be cut as requested."""
    cells, cut = Box.whole(prepared.grid.shape).size, resources.memory is not None
    check_held(prepared.job.name, prepared.held, resources.memory)
    for sweep in sweeps_of(prepared):
        written = cells * bytes_per_cell(sweep.decisions)
        check_space(prepared.job.name, written, sweep.memory(), prepared.output, cut=cut)
        sweep.slabs(resources)
    if prepared.averaged:
        averaging, written = Averaging(prepared), cells * bytes_per_cell(prepared.decisions)
        check_space(prepared.job.name, written, averaging.memory(), prepared.output, cut=cut)
        averaging.slabs(resources)


def _without_unused(job: Job, source: Source) -> Job:
    """Return the job without options that change nothing here: the affine where both agree, the only volume."""
    disagree = source.grid.reference.get("nifti", {}).get("disagree", False)
    several = source.info.volumes > 1
    return replace(job, affine=job.affine if disagree else None, volume=job.volume if several else None)


def default_output(path: str, grid: Grid) -> Path:
    """Return `<stem>_mask` beside the input: a GeoTIFF for a scene, a compressed NIfTI for a volume."""
    return output_folder(path) / (stem_of(path) + "_mask" + (".tif" if grid.is_scene else ".nii.gz"))


def _user_read_options(job: Job, item: Input) -> ReadOptions:
    """Return how the input is read, as far as the user specifies it."""
    keep = bool(job.keep_header_text)
    return ReadOptions(
        job.bands,
        onto=_target(job, item),
        affine=job.affine,
        volume=job.volume,
        keep_text=keep,
        series=job.series,
        allow=job.allow or (),
    )


def _input_requirements(card: Card, job: Job) -> InputRequirements:
    values = card.values, job.scale, job.offset
    return InputRequirements(card.name, card.channels, job.bands, *values, catalog=job.catalog)


def _check_kind(source: Source, card: Card, job: Job) -> None:
    kind = "scene" if source.grid.is_scene else "volume"
    if card.kind != kind:
        raise ModelError(
            f"{job.name}: is a {kind}, but the model {card.name} is for {card.kind}s; `pipeline models` lists others"
        )
    if kind == "scene" and job.view is not None:
        raise RequestError(f"{job.name}: --view is for volumes; this is a scene")
    if kind == "volume" and (job.scale, job.offset) != (None, None):
        raise RequestError(f"{job.name}: --scale and --offset are for scenes; this is a volume")


def _check_channels(source: Source, card: Card, job: Job) -> None:
    if len(card.channels) != source.channels:
        more = card.kind == "scene" and source.channels > len(card.channels)
        first = ",".join(str(band) for band in range(1, len(card.channels) + 1))
        about = source.band_info if more and isinstance(source, HasBands) else ()
        named = listed(about) if any(band.name for band in about) else []
        has = counted(source.channels, "channel")
        raise InputError(
            f"{job.name}: has {has}, but the model {card.name} takes {len(card.channels)} "
            f"({', '.join(card.channels)}); "
            + (f"choose them with --bands, e.g. --bands {first}" if more else "`pipeline models` lists other models")
            + (f"; it has the bands {', '.join(named)}" if named else ""),
            code="unsuitable",
        )


def _target(job: Job, item: Input) -> Grid | None:
    if job.like is None and job.resolution is None and job.crs is None:
        return None
    from pipeline.jobs.target_grid import find_target_grid

    return find_target_grid(job, item)


def _region(job: Job, grid: Grid) -> Region | None:
    if job.aoi is None:
        return None
    if not grid.is_scene:
        raise RequestError(f"{job.name}: --aoi is for scenes; this is a volume")
    from pipeline.jobs.aoi import read_aoi

    return read_aoi(job.aoi, grid)


def _check_distinct(item: Input, output: OutputPath) -> None:
    if isinstance(output, ObjectPath):
        if item.text == f"{output}":
            raise RequestError(f"{output}: is the input itself; give another --output")
        return
    if not item.remote and item.path.resolve() == output.resolve():
        raise RequestError(f"{output}: is the input itself; give another --output")


def _needs_staging(source: Source, turned: Orientation | None, resources: Resources) -> bool:
    """Return whether the file would be read again and again; twice, for statistics, costs less than a copy."""
    if source.grid.is_scene:
        return False
    order, flips = turned or ((0, 1, 2), (False, False, False))
    if order != (0, 1, 2):
        return True
    return source.info.sequential and (flips[0] or bool(resources.workers or resources.scheduler))


def _needs_strips(prepared: PreparedJob, resources: Resources) -> bool:
    """Return whether slabs are cut into strips, for each of which the rows of its slab are read again."""
    return resources.memory is not None and any(sweep.memory() > resources.memory for sweep in sweeps_of(prepared))


def _window(kind: str) -> str:
    checked_window(kind, 1)
    return kind


def numerics_for(cards: Sequence[Card], views: tuple[View, ...], augmentation: TTA, resources: Resources) -> Numerics:
    """Return the numerics in which models compute these views: as requested, or what suits run and machine."""
    from pipeline.models.inference.device import (
        choose_numerics,  # torch takes a second, and errors above come without it
    )
    from pipeline.models.networks.flops import count_flops

    own = [card for card in cards if isinstance(card.network, PSPNetSpec)]
    if not own:
        return _onnx_numerics(cards, resources.device, resources.precision, resources.runtime)
    if len(own) < len(cards):
        resources = replace(resources, device=_onnx_numerics(cards, resources.device).device)
    long = sum(len(view.lattice) for view in views) >= _MANY
    seen = [(card, view, view.input_size_of(card)) for card in own for view in views]
    each = [len(view.lattice) * count_flops(card.pspnet, size) if long else 0.0 for card, view, size in seen]
    numerics = choose_numerics(resources.device, resources.precision, resources.runtime, augmentation.cost * sum(each))
    for card, view, input_size in seen if numerics.precision == "int8" else ():
        _check_int8(card, view, augmentation.sizes(input_size))
    return numerics


def _check_int8(card: Card, view: View, sizes: Sequence[tuple[int, int]]) -> None:
    for size in sizes:
        int8_form(card, None if view.blocks else size)


def _onnx_numerics(
    cards: Sequence[Card], device: str | None, precision: str | None = None, runtime: str | None = None
) -> Numerics:
    """Return the numerics of networks in ONNX files."""
    need("onnx", f"model {next(card.name for card in cards if isinstance(card.network, ONNXSpec))}")
    from pipeline.models.inference.onnx_numerics import choose_onnx_numerics

    return choose_onnx_numerics(device, precision, runtime)
