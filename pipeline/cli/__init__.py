"""The command line: verbs, options and exit codes. The libraries of a verb are imported when it runs.

May import everything else in the project; nothing imports it.
"""

from __future__ import annotations

import atexit
import gc
import logging

from pipeline.cli.app import app
from pipeline.cli.archive_verbs import retry, status, verify
from pipeline.cli.mask_verbs import areas, check, export, info, measure, suggest
from pipeline.cli.model_verbs import export_model, import_weights, models, publish, quantize
from pipeline.cli.report_verbs import report
from pipeline.cli.run_verbs import plan, run
from pipeline.cli.schedule_verbs import schedule
from pipeline.cli.setup_verbs import doctor, schema
from pipeline.cli.training_verbs import evaluate, train
from pipeline.cli.view_verbs import view
from pipeline.files.visible import VisibleFormatter

_SEGMENTING = (run, plan, status, verify, retry, schedule)
_AFTERWARDS = (info, check, view, report, export, areas, measure, evaluate, suggest)
_MODELS = (models, train, import_weights, export_model, quantize, publish)
_SETUP = (doctor, schema)

_ALLOCATIONS = 50_000
"""Containers made before Python looks for cycles; 700 by default. Importing libraries makes 250,000, which stay."""

for verb in (*_SEGMENTING, *_AFTERWARDS, *_MODELS, *_SETUP):
    app.command()(verb)
app.command("quantise", hidden=True)(quantize)


def main() -> None:
    """Run the command line."""
    atexit.register(gc.freeze)  # else Python looks through all that the libraries made, to free it: .6 s
    gc.set_threshold(_ALLOCATIONS, *gc.get_threshold()[1:])
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(VisibleFormatter())
    app()
