"""Verbs that train and evaluate models."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.app import SOME_FAILED
from pipeline.cli.options import HOW, AsJson, Following, Panel, verb
from pipeline.decoding import given
from pipeline.errors import RequestError, size_text
from pipeline.evaluation.request import EvaluationOutputs, EvaluationRequest, Measures
from pipeline.files.visible import visible
from pipeline.jobs.job import Resources
from pipeline.jobs.request import Request
from pipeline.training.config import TrainingResources

if TYPE_CHECKING:
    from pipeline.training.learning_rate import RateFinding
    from pipeline.training.preview import Preview

SEGMENTING = ("bands", "scale", "offset", "patch", "overlap", "window", "view", "tta", "features", "affine")


@verb
def train(
    config: Annotated[Path, typer.Option("--config", "-c", help="Training file (TOML).")],
    out: Annotated[Path, typer.Option("--out", help="Folder for checkpoints, logs and finally the model.")],
    resources: Annotated[TrainingResources, Panel(HOW)],
    data: Annotated[
        Path | None, typer.Option(help="Base folder of the paths in the training file. Default: the file's own.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only draw the first samples, and measure memory and time of a few steps.")
    ] = False,
    find_rate: Annotated[
        bool,
        typer.Option(
            "--find-learning-rate",
            help="Only try learning rates in 100 steps, and tell the one in the middle of where the loss falls.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model from labeled scenes or volumes; the same command continues after a stop."""
    if find_spec("lightning") is None:
        raise RequestError("training needs Lightning, which is not installed; pip install 'pipeline[train]'")

    from pipeline.training.config import read_training
    from pipeline.training.run import train as train_model

    if dry_run and find_rate:
        raise RequestError("--dry-run, --find-learning-rate: give one of them")
    training, base = read_training(config), data or config.parent
    resources = replace(resources, bar=sys.stderr.isatty())
    if dry_run:
        from pipeline.training.preview import preview

        _print_preview(preview(training, base, out, resources, _say), as_json=as_json)
        return
    if find_rate:
        from pipeline.training.learning_rate import find_learning_rate

        _print_rate(find_learning_rate(training, base, out, resources, _say), as_json=as_json)
        return
    trained = train_model(training, base, out, resources, _say)
    record = {"model": str(trained.folder), "steps": trained.steps, "validation": trained.figures}
    if trained.first:
        typer.echo(json.dumps(record) if as_json else visible(trained.folder))


def _say(line: str) -> None:
    typer.echo(visible(line), err=True)


def _print_preview(found: Preview, *, as_json: bool) -> None:
    record = {
        "samples": str(found.samples),
        "steps": found.steps,
        "seconds_per_step": round(found.seconds_per_step, 3),
        "hours": round(found.hours, 2),
        "validation_hours": round(found.validation_hours, 2),
        "memory": found.memory,
    }
    validation = f"{found.validation_hours:.1f} h of validation" if found.validation_hours else "no validation"
    words = (
        f"{visible(found.samples)}\n{found.steps:,} steps of {found.seconds_per_step:.2f} s: "
        f"{found.hours:.1f} h, {validation}, {size_text(found.memory)} of memory"
    )
    typer.echo(json.dumps(record) if as_json else words)


def _print_rate(found: RateFinding, *, as_json: bool) -> None:
    record = {
        "learning_rate": found.learning_rate,
        "steps": len(found.rates),
        "chart": str(found.chart),
        "table": str(found.table),
    }
    words = f"{visible(found.chart)}\nlearning_rate = {found.learning_rate:g}"
    typer.echo(json.dumps(record) if as_json else words)


@verb
def evaluate(
    masks: Annotated[
        list[str] | None, typer.Argument(metavar="MASK", help="Masks to compare, as with --predictions.")
    ] = None,
    *,
    asked: Annotated[EvaluationRequest, Panel("What is compared")],
    measures: Annotated[Measures, Panel("Measures")],
    kept: Annotated[EvaluationOutputs, Panel("What is written")],
    request: Annotated[Request, Panel("How inputs are segmented", *SEGMENTING)],
    resources: Annotated[Resources, Panel(HOW, "device", "precision", "runtime")],
    following: Annotated[Following, Panel(None)],
    as_json: AsJson = False,
) -> None:
    """Compare masks, or what a model predicts for inputs, with their truth."""
    from pipeline.cli.evaluation_tables import print_evaluation
    from pipeline.cli.screen import Screen
    from pipeline.evaluation.run import run_evaluation
    from pipeline.jobs.job_file import check_options
    from pipeline.runs.observer import RunContext

    check_options(request)
    asked = replace(asked, how=given(request), predictions=(*(masks or ()), *asked.predictions))
    quiet = following.quiet or (as_json and not following.as_json)
    with Screen(quiet=quiet, stop_on_signals=True, as_json=following.as_json) as screen:
        found = run_evaluation(asked, measures, RunContext(resources, screen), kept)
    print_evaluation(found.evaluation, found.failed, as_json=as_json)
    if found.failed:
        raise typer.Exit(SOME_FAILED)
