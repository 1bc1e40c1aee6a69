"""The command line: verbs, options and exit codes. What a verb needs is imported when it runs."""

from __future__ import annotations

from pipeline.cli.app import app
from pipeline.cli.archives import retry, status
from pipeline.cli.learning import evaluate, train
from pipeline.cli.masks import areas, check, export, info, measure
from pipeline.cli.scheduling import schedule
from pipeline.cli.segmenting import plan, run
from pipeline.cli.weights import import_weights, models, quantise

_SEGMENTING = (run, plan, status, retry, schedule)
_AFTERWARDS = (info, check, export, areas, measure, evaluate)
_MODELS = (models, train, import_weights, quantise)

for verb in (*_SEGMENTING, *_AFTERWARDS, *_MODELS):
    app.command()(verb)


def main() -> None:
    """Run the command line."""
    app()
