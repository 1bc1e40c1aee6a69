"""Verbs that train and evaluate models."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import SOME_FAILED
from pipeline.cli.options import HOW, AsJson, Panel, Quiet, verb
from pipeline.decoding import given
from pipeline.errors import RequestError
from pipeline.evaluation.request import EvaluationOutputs, EvaluationRequest, Measures
from pipeline.files.visible import visible
from pipeline.jobs.job import Resources
from pipeline.jobs.request import Request
from pipeline.training.config import TrainingResources

SEGMENTING = ("bands", "scale", "offset", "patch", "overlap", "window", "view", "tta", "features", "affine")


@verb
def train(
    config: Annotated[Path, typer.Option("--config", "-c", help="Training file (TOML).")],
    out: Annotated[Path, typer.Option("--out", help="Folder for checkpoints, logs and finally the model.")],
    resources: Annotated[TrainingResources, Panel(HOW)],
    data: Annotated[
        Path | None, typer.Option(help="Base folder of the paths in the training file. Default: the file's own.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a model from labeled scenes or volumes; the same command continues after a stop."""
    if find_spec("lightning") is None:
        raise RequestError("training needs Lightning, which is not installed; pip install 'pipeline[train]'")

    from pipeline.training.config import read_training
    from pipeline.training.run import train as train_model

    training = read_training(config)
    resources = replace(resources, bar=sys.stderr.isatty())
    trained = train_model(
        training, data or config.parent, out, resources, lambda line: typer.echo(visible(line), err=True)
    )
    record = {"model": str(trained.folder), "steps": trained.steps, "validation": trained.figures}
    if trained.first:
        typer.echo(json.dumps(record) if as_json else visible(trained.folder))


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
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare masks, or what a model predicts for inputs, with their truth."""
    from pipeline.cli.screen import Screen
    from pipeline.cli.tables import print_evaluation
    from pipeline.evaluation.run import run_evaluation
    from pipeline.jobs.job_file import check_options
    from pipeline.runs.observer import RunContext

    check_options(request)
    asked = replace(asked, how=given(request), predictions=(*(masks or ()), *asked.predictions))
    with Screen(quiet=quiet or as_json, stop_on_signals=True) as screen:
        found = run_evaluation(asked, measures, RunContext(resources, screen), kept)
    print_evaluation(found.evaluation, found.failed, as_json=as_json)
    if found.failed:
        raise typer.Exit(SOME_FAILED)
