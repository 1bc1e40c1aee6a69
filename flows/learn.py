"""A flow that trains a model, evaluates it on held-out data, and publishes it if it is good enough."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from flows.item import is_retryable
from flows.naming import TAG, run_name
from pipeline import Resources
from pipeline.errors import ModelError, RequestError
from pipeline.evaluation import EvaluationOutputs, EvaluationRequest, Measures, run_evaluation
from pipeline.models import publish_model
from pipeline.runs import RunContext
from pipeline.training import TrainingResources, read_training, train

RECORD = "test"
"""Name of the figures in the model's card."""
_DELAYS: list[float] = [10, 60]


@task(tags={TAG}, retries=2, retry_delay_seconds=_DELAYS, retry_condition_fn=is_retryable, cache_policy=NO_CACHE)
def train_model(config: Path, out: Path, data: Path | None, device: str | None) -> Path:
    """Train a model and return its folder; a retry resumes from the last checkpoint."""
    return train(
        read_training(config), data or config.parent, out, TrainingResources(device), get_run_logger().info
    ).folder


@task(tags={TAG}, retries=2, retry_delay_seconds=_DELAYS, retry_condition_fn=is_retryable, cache_policy=NO_CACHE)
def evaluate_model(model: Path, table: Path, ignore: tuple[int, ...], means: Resources) -> dict[str, float | None]:
    """Evaluate a model on a table with the columns image and truth; figures are also stored in the model's card.

    Cells of the truth with a value in `ignore` are not counted.
    """
    asked = EvaluationRequest(table=table, model=str(model))
    found = run_evaluation(asked, Measures(ignore), RunContext(means), EvaluationOutputs(record=RECORD))
    if found.evaluation is None or found.failed:
        raise RequestError(f"{table}: {len(found.failed)} images could not be segmented; {found.failed[0].reason}")
    figures = {name: estimate.value for name, estimate in found.evaluation.overall.figures.items()}
    create_table_artifact([{"figure": name, "value": value} for name, value in figures.items()], key="figures")
    return figures


@flow(name="train-evaluate-publish", flow_run_name=run_name)
def learn_flow(
    config: Path,
    out: Path,
    table: Path,
    publish: Path,
    least: dict[str, float] | None = None,
    data: Path | None = None,
    means: Resources = Resources(),
) -> Path:
    """Train, evaluate and publish a model; each step resumes where it was stopped.

    The published folder is named after the weights, so a job that names it never gets others.

    Args:
        config: Training file.
        out: Folder of the training.
        table: Table to evaluate on.
        publish: Folder to publish below.
        least: Figures that the model must reach, e.g. `{"mean_iou": 0.6}`.
        data: Base folder of the paths in the training file.
        means: Speed and memory.

    Raises:
        ModelError: If a figure is not reached.

    """
    model = train_model(config, out, data, means.device)
    figures = evaluate_model(model, table, read_training(config).data.ignore, means)
    _check(figures, least or {}, model)
    return publish_model(model, publish)


def _check(figures: Mapping[str, float | None], least: Mapping[str, float], model: Path) -> None:
    unknown = [name for name in least if name not in figures]
    if unknown:
        raise RequestError(f"least: unknown figure {unknown[0]}; choose from {', '.join(figures)}")
    short = [
        f"{name} is {value}, below {needed}"
        for name, needed in least.items()
        if (value := figures[name]) is None or value < needed
    ]
    if short:
        raise ModelError(f"{model}: not published: {'; '.join(short)}")
