"""Make a model in int8 from inputs like those that it is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.engine import Source
from pipeline.errors import InputError, OutputError, counted
from pipeline.files.atomic import write_together
from pipeline.jobs.job import Job, Resources
from pipeline.models.catalogue import CARD, MODEL, load_card
from pipeline.models.inference.quantize import quantize_model
from pipeline.models.store import load_model
from pipeline.runs.observer import SILENT, Observer
from pipeline.runs.predictors import network_input
from pipeline.runs.prepare import prepare
from pipeline.runs.prepared import PreparedJob
from pipeline.runs.view_sweep import ViewSweep, sweeps_of
from pipeline.runs.warm_up import observed_patches
from pipeline.sources.percentiles import stretch
from pipeline.sources.reoriented import ReorientedSource
from pipeline.sources.statistics import NO_STATISTICS, InputStatistics, MomentAccumulator, count_volume

_FLOAT = Resources(device="cpu", precision="float32", runtime="torch")


@dataclass(frozen=True)
class QuantizationResult:
    """A model that was quantized to int8."""

    input: tuple[str, ...]
    output: str
    model: str
    agreement: float
    """Share of the pixels of the checking patches that have the label of float32."""
    patches: int
    """Checking patches."""
    rest: str
    """What is left in float is computed in."""
    left_in_float: tuple[str, ...]


def quantize(
    jobs: Sequence[Job],
    out: Path,
    *,
    patches: int = 64,
    agreement: float = 0.999,
    overwrite: bool = False,
    observer: Observer = SILENT,
) -> QuantizationResult:
    """Write the jobs' model to the folder `out`, with an int8 form beside its weights.

    Args:
        jobs: Inputs with one model.
        out: Folder to write.
        patches: Patches to use from all over the inputs; every other one calibrates, the others check.
        agreement: Share of labels that must equal those of float32 on the checking patches.
        overwrite: Whether a model in `out` may be replaced.
        observer: Is given notes.

    Raises:
        OutputError: If `out` already holds a model.
        PipelineError: If the labels do not agree well enough.

    """
    if (out / CARD).exists() and not overwrite:
        raise OutputError(f"{out}: already holds a model; use --overwrite to replace it, or give another --out")
    for name in {name for job in jobs for name in job.models}:
        load_card(name).pspnet  # noqa: B018  (raises for another network)
    sweeps = [sweep for job in jobs for sweep in sweeps_of(prepare(job, _FLOAT))]
    model = load_model(sweeps[0].prepared.members[0].model)
    images = [image for n, sweep in enumerate(sweeps) for image in _images(sweep, _share(patches, len(sweeps), n))]
    if len(images) < 2:
        found = counted(len(images), "patch", "patches")
        raise InputError(f"{jobs[0].name}: has {found} with values; int8 needs at least 2, to calibrate and to check")
    made = quantize_model(model, images[::2], images[1::2], agreement, observer.note)
    card = replace(model.card, int8=made.form)
    write_together(out, {MODEL: model.path.read_bytes(), **made.files, CARD: card.to_json().encode()})
    return QuantizationResult(
        input=tuple(job.name for job in jobs),
        output=str(out),
        model=card.name,
        agreement=made.form.agreement,
        patches=made.form.patches,
        rest=made.form.rest,
        left_in_float=made.left,
    )


def _share(patches: int, parts: int, number: int) -> int:
    """Return the patches of one of the inputs and views; the first have one more if they do not divide evenly."""
    return patches // parts + (number < patches % parts)


def _images(sweep: ViewSweep, count: int) -> list[Any]:
    """Return the network's input for `count` patches of a view, or for all that it has."""
    prepared, orientation = sweep.prepared, sweep.view.orientation
    source: Source = prepared.reading.open(prepared.input)
    try:
        own = _statistics(prepared, source) if prepared.needs_statistics else NO_STATISTICS
        if orientation is not None:
            source = ReorientedSource(source, *orientation)
        patches = islice(observed_patches(sweep.lattice, source, max(count, 1)), count)
        return [network_input(sweep, own, pixels) for pixels in patches]
    finally:
        source.close()


def _statistics(prepared: PreparedJob, source: Source) -> InputStatistics:
    rule = prepared.card.normalization
    if rule.kind == "percentile":
        return stretch(source, rule.low, rule.high)
    seen = [MomentAccumulator() for _ in range(source.channels)]
    count_volume(seen, source)
    return InputStatistics.of_moments(seen)
