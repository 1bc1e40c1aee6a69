"""Evaluation from a request to its figures; predictions that are still to be made are segmented by the ordinary run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.archive.run import segment_all
from pipeline.errors import RequestError
from pipeline.evaluation.compare import evaluate_pairs
from pipeline.evaluation.pairs import Pair, Wish, check_wish, find_pairs, find_wishes, read_table
from pipeline.evaluation.pictures import draw
from pipeline.evaluation.request import Asked, Kept, Measures
from pipeline.evaluation.result import Evaluation, summary, write_csv
from pipeline.jobs.inputs import name_outputs
from pipeline.jobs.job import Job
from pipeline.models.catalogue import load_card
from pipeline.models.store import record_evaluation
from pipeline.runs.observer import RunContext
from pipeline.runs.report import Report


def find(asked: Asked) -> tuple[Pair, ...] | tuple[Wish, ...]:
    """What is to be compared. Raises RequestError for a request that contradicts itself."""
    if sum(map(bool, (asked.predictions, asked.inputs, asked.table))) != 1:
        raise RequestError("give one of --predictions, --input and --table")
    if (asked.truth is None) != (asked.table is not None):
        raise RequestError("--truth is needed with --predictions and --input, and stands in the table with --table")
    found = _found(asked)
    if isinstance(found[0], Pair) and (asked.model is not None or asked.output is not None or asked.how):
        given = ", ".join(f"--{name}" for name in asked.how)
        raise RequestError(
            f"{given or '--model and --output'}: for inputs that are to be segmented, not for predictions"
        )
    return found


def _found(asked: Asked) -> tuple[Pair, ...] | tuple[Wish, ...]:
    if asked.table is not None:
        return read_table(asked.table)
    find_them = find_pairs if asked.predictions else find_wishes
    return find_them(asked.predictions or asked.inputs, asked.truth or "")


NOTHING = Kept()


@dataclass(frozen=True)
class Predicted:
    """Pairs that have their predictions, and what could not be segmented."""

    pairs: tuple[Pair, ...]
    failed: tuple[Report, ...]
    kept: bool = True
    """Whether the predictions stay."""


@contextmanager
def predicted(asked: Asked, run: RunContext) -> Iterator[Predicted]:
    """The pairs that `asked` stands for, with their predictions, which are removed in the end if nobody keeps them."""
    found = find(asked)
    pairs = tuple(one for one in found if isinstance(one, Pair))
    wishes = tuple(one for one in found if isinstance(one, Wish))
    if pairs:
        yield Predicted(pairs, ())
    elif asked.output is not None:
        yield _segmented(wishes, asked, asked.output, run)
    else:
        with TemporaryDirectory(prefix="pipeline-") as folder:
            yield replace(_segmented(wishes, asked, Path(folder), run), kept=False)


@dataclass(frozen=True)
class Found:
    """What became of a request."""

    evaluation: Evaluation | None
    """None: no image could be segmented."""
    failed: tuple[Report, ...]


def evaluate_asked(asked: Asked, measures: Measures, run: RunContext, kept: Kept = NOTHING) -> Found:
    """Compare what `asked` stands for, and keep of it what `kept` says.

    An image that cannot be segmented is told, and the rest goes on. Raises PipelineError; Interrupted if it is to stop.
    """
    if kept.record is not None:
        _check_record(asked)
    with predicted(asked, run) as made:
        if not made.pairs:
            return Found(None, made.failed)
        evaluation = evaluate_pairs(made.pairs, measures, run.observer.step("comparing"))
        if kept.pictures is not None:
            draw(evaluation, made.pairs, kept.pictures)
    if not made.kept:
        evaluation = replace(evaluation, items=tuple(replace(item, prediction=None) for item in evaluation.items))
    if kept.csv is not None:
        write_csv(evaluation, kept.csv)
    if kept.record is not None and asked.model is not None:
        record_evaluation(asked.model, kept.record, {**dict(asked.how), **summary(evaluation)})
    return Found(evaluation, made.failed)


def _check_record(asked: Asked) -> None:
    if asked.model is None:
        raise RequestError("--record writes into the card of a model; give --model, and --input or --table")
    load_card(asked.model)


def _segmented(wishes: Sequence[Wish], asked: Asked, output: Path, run: RunContext) -> Predicted:
    """Segment each image into the folder `output`, after all truths were checked.

    A mask that this very run made before is left alone, and has no time.
    """
    for wish in wishes:
        check_wish(wish)
    images = [wish.image for wish in wishes]
    masks = name_outputs(images, f"{output}/", asked.inputs)
    jobs = [Job(image, mask, asked.model, **asked.how) for image, mask in zip(images, masks, strict=True)]
    reports = segment_all(jobs, run)
    pairs = [
        Pair(report.output, wish.truth, wish.image, report.seconds if report.status == "done" else None)
        for wish, report in zip(wishes, reports, strict=True)
        if report.status != "failed" and report.output is not None
    ]
    return Predicted(tuple(pairs), tuple(report for report in reports if report.status == "failed"))
