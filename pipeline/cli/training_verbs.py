"""Verbs that train a model and tell how good it is."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import SOME_FAILED, errors
from pipeline.cli.options import (
    Affine,
    AsJson,
    Bands,
    Device,
    Input,
    Model,
    Offset,
    Overlap,
    Patch,
    Precision,
    Quiet,
    Runtime,
    Scale,
    Tta,
    View,
    Window,
)
from pipeline.cli.parsing import positive, whole_numbers
from pipeline.cli.requests import given
from pipeline.errors import RequestError


def train(
    config: Annotated[Path, typer.Option("--config", "-c", help="The training (TOML).")],
    out: Annotated[Path, typer.Option("--out", help="Folder of checkpoints, logs and, in the end, the model.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder that paths in the training are relative to. Default: its own.")
    ] = None,
    device: Device = None,
    devices: Annotated[
        int | None, typer.Option(help="GPUs, or processes on a CPU, that train together. Default: all GPUs, or one.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that make samples; 0: the training makes its own.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train a model from labelled scenes or volumes; the same command goes on after a stop."""
    with errors():
        if find_spec("lightning") is None:
            raise RequestError("training needs Lightning, which is not installed; pip install 'pipeline[train]'")

    from pipeline.training.config import read_training
    from pipeline.training.run import Resources
    from pipeline.training.run import train as train_model

    with errors():
        training = read_training(config)
        resources = Resources(
            device, positive("--workers", workers or None) or 0, positive("--devices", devices), sys.stderr.isatty()
        )
        trained = train_model(training, data or config.parent, out, resources, lambda line: typer.echo(line, err=True))
        record = {"model": str(trained.folder), "steps": trained.steps, "validation": trained.figures}
        if trained.first:
            typer.echo(json.dumps(record) if as_json else f"{trained.folder}")


def evaluate(
    predictions: Annotated[
        list[str] | None, typer.Option(help="Masks: file, folder or pattern; may be given again.")
    ] = None,
    truth: Annotated[
        str | None, typer.Option(help="Truth of each: a path with {stem} and {folder}, as in labels/{stem}.tif.")
    ] = None,
    input_: Input = None,
    table: Annotated[
        Path | None, typer.Option(help="Table with the columns truth, and prediction or image, instead of these.")
    ] = None,
    model: Model = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder that keeps the masks of --input. Default: none does.")
    ] = None,
    bands: Bands = None,
    scale: Scale = None,
    offset: Offset = None,
    patch: Patch = None,
    overlap: Overlap = None,
    window: Window = None,
    view: View = None,
    tta: Tta = None,
    affine: Affine = None,
    ignore: Annotated[str | None, typer.Option(help="Values of the truth that are not counted, as in 255,0.")] = None,
    tolerance: Annotated[float, typer.Option(help="Millimetres of the surface Dice (volumes).")] = 1.0,
    boundary: Annotated[float, typer.Option(help="Pixels of the boundary F1 (scenes).")] = 3.0,
    bootstrap: Annotated[int, typer.Option(help="Draws of the bootstrap over items; 0: no intervals.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    csv: Annotated[Path | None, typer.Option(help="File for the figures of each item and class.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="Folder for the confusion matrix and three items.")] = None,
    record: Annotated[
        str | None, typer.Option(help="Name under which the figures go into the model's card, as in test.")
    ] = None,
    device: Device = None,
    precision: Precision = None,
    runtime: Runtime = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare masks, or what a model makes of inputs, with their truth."""
    from pipeline.cli.screen import Screen
    from pipeline.cli.tables import print_evaluation
    from pipeline.evaluation.compare import Measures
    from pipeline.evaluation.request import Asked, Kept, evaluate_asked
    from pipeline.jobs.job import Means
    from pipeline.jobs.job_file import Request, check_how
    from pipeline.runs.observer import RunContext

    with errors():
        measures = Measures(whole_numbers(ignore) if ignore else (), tolerance, boundary, bootstrap, seed)
        reading = {"bands": bands, "scale": scale, "offset": offset, "affine": affine}
        how = given(**reading, patch=patch, overlap=overlap, window=window, view=view, tta=tta)
        check_how(Request(**how))
        asked = Asked(tuple(predictions or ()), tuple(input_ or ()), table, truth, model, how, output)
        kept = Kept(csv, pictures, record)
        means = Means(device=device, precision=precision, runtime=runtime)
        with Screen(quiet=quiet or as_json, stop_on_signals=True) as screen:
            found = evaluate_asked(asked, measures, RunContext(means, screen), kept)
        print_evaluation(found.evaluation, found.failed, as_json=as_json)
        if found.failed:
            raise typer.Exit(SOME_FAILED)
