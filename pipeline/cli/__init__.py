"""The command line: verbs, options and exit codes. What a verb needs is imported when it runs."""

from __future__ import annotations

from pipeline.cli.app import app
from pipeline.cli.archives import retry, status
from pipeline.cli.learning import evaluate, train
from pipeline.cli.scheduling import schedule
from pipeline.cli.segmenting import export, info, plan, run
from pipeline.cli.weights import import_weights, models, quantise

for verb in (run, plan, status, retry, schedule, info, export, models, train, evaluate, import_weights, quantise):
    app.command()(verb)


def main() -> None:
    """Run the command line."""
    app()
