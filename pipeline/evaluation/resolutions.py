"""What a model makes of the same scenes with larger and smaller pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.archive.run import segment_all
from pipeline.errors import InputError, RequestError
from pipeline.evaluation.calibration import LabeledJob
from pipeline.evaluation.compare import evaluate_pairs
from pipeline.evaluation.pairs import Pair
from pipeline.evaluation.request import Measures
from pipeline.evaluation.result import AtResolution
from pipeline.io.opening import open_source
from pipeline.io.raster.placement import ground_spacing
from pipeline.io.raster.resize import write_resized
from pipeline.io.suffixes import stem_of
from pipeline.runs.observer import RunContext


def evaluate_resolutions(
    labeled: Sequence[LabeledJob], measures: Measures, run: RunContext
) -> tuple[AtResolution, ...]:
    """Evaluate scenes with pixels of each of `measures.resolutions`, as multiples of their own.

    Truths are those of the nearest pixel.

    Raises:
        RequestError: If an input is a volume.
        PipelineError: If an input cannot be segmented.
        Interrupted: If it is to stop.

    """
    return tuple(_at(labeled, factor, measures, run) for factor in measures.resolutions)


def _at(labeled: Sequence[LabeledJob], factor: float, measures: Measures, run: RunContext) -> AtResolution:
    with TemporaryDirectory(prefix="pipeline-") as folder:
        resized = [_resized(one, factor, Path(folder) / f"{number}") for number, one in enumerate(labeled)]
        reports = segment_all([one.job for one in resized], run)
        if failed := [report for report in reports if report.status == "failed"]:
            raise InputError(f"at {factor:g} times the pixel size: {failed[0].reason}", failed[0].code or "error")
        pairs = [Pair(str(one.job.output), one.truth) for one in resized]
        overall = evaluate_pairs(pairs, measures, run.observer.step("comparing")).overall
        sides = [side for one in resized if (side := _ground(one.job.input)) is not None]
    figures = {name: overall.figures[name] for name in ("accuracy", "mean_iou")}
    classes = {entry.name: entry.figures["iou"] for entry in overall.classes}
    return AtResolution(factor, (min(sides), max(sides)) if sides else None, figures, classes)


def _resized(one: LabeledJob, factor: float, folder: Path) -> LabeledJob:
    folder.mkdir()
    image, truth = folder / f"{stem_of(one.job.input)}.tif", folder / "truth.tif"
    source = open_source(one.job.input, affine="sform")
    source.close()
    if not source.grid.is_scene:
        raise RequestError(f"{one.job.name}: --resolutions is for scenes; this is a volume")
    write_resized(one.job.input, image, factor)
    write_resized(one.truth, truth, factor, labels=True)
    return LabeledJob(replace(one.job, input=str(image), output=folder / "mask.tif"), str(truth))


def _ground(path: str) -> float | None:
    """Return the side of a pixel in meters on the ground; None where it is unknown."""
    source = open_source(path)
    source.close()
    found = ground_spacing(source.grid)
    return None if found is None else sqrt(found[0] * found[1])
