"""Evaluation from a request to its figures; predictions that are still to be made are segmented by the ordinary run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.archive.run import segment_all
from pipeline.decoding.readers import one_or_several
from pipeline.errors import RequestError
from pipeline.evaluation.calibration import LabeledJob, calibrate, measure_calibration
from pipeline.evaluation.compare import evaluate_pairs
from pipeline.evaluation.machine import machine_of
from pipeline.evaluation.pairs import Pair, UnpredictedPair, check_unpredicted, find_pairs, find_unpredicted, read_table
from pipeline.evaluation.pictures import draw_pictures
from pipeline.evaluation.request import EvaluationOutputs, EvaluationRequest, Measures
from pipeline.evaluation.resolutions import evaluate_resolutions
from pipeline.evaluation.result import Calibration, Evaluation, summary, write_csv
from pipeline.jobs.job import Job, models_of
from pipeline.jobs.outputs import name_outputs
from pipeline.models.catalogue import check_writable, load_card, pin_model
from pipeline.models.store import record_evaluation, record_temperature
from pipeline.runs.observer import RunContext
from pipeline.runs.report import Report


def pairs_of(request: EvaluationRequest) -> tuple[Pair, ...] | tuple[UnpredictedPair, ...]:
    """Find the pairs of a request.

    Raises:
        RequestError: for a request that contradicts itself.

    """
    if sum(map(bool, (request.predictions, request.inputs, request.table))) != 1:
        raise RequestError("give one of --predictions, --input and --table")
    if (request.truth is None) != (request.table is not None):
        raise RequestError("--truth is required with --predictions and --input; with --table it is a column")
    found = _find(request)
    if isinstance(found[0], Pair) and (request.model is not None or request.output is not None or request.how):
        given = ", ".join(f"--{name}" for name in request.how)
        raise RequestError(f"{given or '--model and --output'}: only for inputs to segment, not for predictions")
    return found


def _check_segmented(request: EvaluationRequest, option: str) -> None:
    if request.predictions or isinstance(pairs_of(request)[0], Pair):
        raise RequestError(f"{option}: is for inputs to segment, not for masks; give --input, or --table with images")


def _find(request: EvaluationRequest) -> tuple[Pair, ...] | tuple[UnpredictedPair, ...]:
    if request.table is not None:
        return read_table(request.table)
    find_them = find_pairs if request.predictions else find_unpredicted
    return find_them(request.predictions or request.inputs, request.truth or "")


NO_OUTPUTS = EvaluationOutputs()


@dataclass(frozen=True)
class Predictions:
    """Pairs that have their predictions, and what could not be segmented."""

    pairs: tuple[Pair, ...]
    failed: tuple[Report, ...]
    kept: bool = True
    """Whether the predictions stay."""


@contextmanager
def predictions_for(request: EvaluationRequest, run: RunContext) -> Iterator[Predictions]:
    """The pairs that `request` stands for with their predictions, which are removed in the end unless it keeps them."""
    found = pairs_of(request)
    pairs = tuple(one for one in found if isinstance(one, Pair))
    unpredicted = tuple(one for one in found if isinstance(one, UnpredictedPair))
    if pairs:
        yield Predictions(pairs, ())
    elif request.output is not None:
        yield _segmented(unpredicted, request, request.output, run)
    else:
        with TemporaryDirectory(prefix="pipeline-") as folder:
            yield replace(_segmented(unpredicted, request, Path(folder), run), kept=False)


@dataclass(frozen=True)
class EvaluationOutcome:
    """Outcome of a request."""

    evaluation: Evaluation | None
    """None: no image could be segmented."""
    failed: tuple[Report, ...]


def run_evaluation(
    request: EvaluationRequest, measures: Measures, run: RunContext, outputs: EvaluationOutputs = NO_OUTPUTS
) -> EvaluationOutcome:
    """Compare what `request` stands for, and keep of it what `outputs` says.

    An image that cannot be segmented is reported, and the rest goes on.

    Raises:
        PipelineError: if anything else fails; Interrupted if it is to stop.

    """
    _check(request, measures, outputs)
    request = replace(request, model=one_or_several(tuple(map(pin_model, models_of(request.model)))) or None)
    fitted = _calibrated(request, measures, run) if outputs.calibrate else None
    with predictions_for(request, run) as made:
        if not made.pairs:
            return EvaluationOutcome(None, made.failed)
        evaluation = evaluate_pairs(made.pairs, measures, run.observer.step("comparing"))
        evaluation = _with_more(evaluation, _labeled(request, made.pairs), measures, run, fitted)
        if outputs.pictures is not None:
            draw_pictures(evaluation, made.pairs, outputs.pictures)
    if not made.kept:
        evaluation = replace(evaluation, items=tuple(replace(item, prediction=None) for item in evaluation.items))
    if outputs.csv is not None:
        write_csv(evaluation, outputs.csv)
    if outputs.record is not None and isinstance(request.model, str):
        machine = machine_of(_labeled(request, made.pairs)[0].job, run.resources)
        record_evaluation(request.model, outputs.record, {**request.how, **summary(evaluation), "machine": machine})
    return EvaluationOutcome(evaluation, made.failed)


def _with_more(
    evaluation: Evaluation,
    labeled: Sequence[LabeledJob],
    measures: Measures,
    run: RunContext,
    fitted: Calibration | None,
) -> Evaluation:
    """Return the evaluation with what else is to be measured, for which inputs are segmented again."""
    calibration, resolutions = fitted, None
    if calibration is None and measures.reliability:
        calibration = measure_calibration(labeled, measures, run)
    if measures.resolutions:
        resolutions = evaluate_resolutions(labeled, measures, run)
    overall = replace(evaluation.overall, calibration=calibration, resolutions=resolutions)
    return replace(evaluation, overall=overall)


def _check(request: EvaluationRequest, measures: Measures, outputs: EvaluationOutputs) -> None:
    """Raise RequestError for what cannot be measured or recorded, before anything is computed."""
    for option, asked in (("--record", outputs.record is not None), ("--calibrate", outputs.calibrate)):
        if asked:
            _check_record(request, option)
    for option, asked in (("--reliability", measures.reliability), ("--resolutions", bool(measures.resolutions))):
        if asked:
            _check_segmented(request, option)


def _check_record(request: EvaluationRequest, option: str) -> None:
    if not isinstance(request.model, str):
        raise RequestError(f"{option} writes into the card of a model; give one --model, and --input or --table")
    check_writable(request.model)
    load_card(request.model)


def _calibrated(request: EvaluationRequest, measures: Measures, run: RunContext) -> Calibration:
    """Fit the temperature of the model to all inputs, and write it into its card."""
    found = pairs_of(request)
    for pair in found:
        check_unpredicted(UnpredictedPair(str(pair.image), pair.truth))
    fitted = calibrate(_labeled(request, found), measures, run)
    record_temperature(str(request.model), fitted.temperature)
    return fitted


def _labeled(request: EvaluationRequest, pairs: Sequence[Pair | UnpredictedPair]) -> list[LabeledJob]:
    return [LabeledJob(Job(str(pair.image), None, request.model, **request.how), pair.truth) for pair in pairs]


def _segmented(
    unpredicted: Sequence[UnpredictedPair], request: EvaluationRequest, output: Path, run: RunContext
) -> Predictions:
    """Segment each image into the folder `output`, after all truths were checked.

    A mask that this very run made before is left alone, and has no time.
    """
    for pair in unpredicted:
        check_unpredicted(pair)
    images = [pair.image for pair in unpredicted]
    masks = name_outputs(images, f"{output}/", request.inputs)
    jobs = [Job(image, mask, request.model, **request.how) for image, mask in zip(images, masks, strict=True)]
    reports = segment_all(jobs, run)
    pairs = [
        Pair(report.output, pair.truth, pair.image, report.seconds if report.status == "done" else None)
        for pair, report in zip(unpredicted, reports, strict=True)
        if report.status != "failed" and report.output is not None
    ]
    return Predictions(tuple(pairs), tuple(report for report in reports if report.status == "failed"))
