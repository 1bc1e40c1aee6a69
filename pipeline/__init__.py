"""Batch segmentation of very large images: GeoTIFF scenes and NIfTI volumes to masks, with PSPNet.

The public names are imported when they are first used, so that nothing is loaded that is not needed.
May import all packages; of the project, only flows import from it.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipeline.optional import lazy

if TYPE_CHECKING:
    from pipeline.engine import Pixels, Predictor, Source
    from pipeline.errors import PipelineError
    from pipeline.evaluation.compare import evaluate
    from pipeline.geometry import Box, Grid
    from pipeline.io.opening import open_source
    from pipeline.jobs.job import Job, Resources
    from pipeline.masks.export import export
    from pipeline.models.store import load_model
    from pipeline.runs.plan import plan
    from pipeline.runs.report import Report
    from pipeline.runs.segment import segment

_OLD = {"Means": "Resources"}
"""Names of before, by which programs may still ask for what has another one now."""

__all__ = [
    "Box",
    "Grid",
    "Job",
    "PipelineError",
    "Pixels",
    "Predictor",
    "Report",
    "Resources",
    "Source",
    "evaluate",
    "export",
    "load_model",
    "open_source",
    "plan",
    "segment",
]

_resolve = lazy(
    __name__,
    {
        "pipeline.engine": ("Pixels", "Predictor", "Source"),
        "pipeline.errors": ("PipelineError",),
        "pipeline.evaluation.compare": ("evaluate",),
        "pipeline.geometry": ("Box", "Grid"),
        "pipeline.io.opening": ("open_source",),
        "pipeline.jobs.job": ("Job", "Resources"),
        "pipeline.masks.export": ("export",),
        "pipeline.models.store": ("load_model",),
        "pipeline.runs.plan": ("plan",),
        "pipeline.runs.report": ("Report",),
        "pipeline.runs.segment": ("segment",),
    },
)


def __getattr__(name: str) -> Any:  # noqa: ANN401  (any of the names)
    if name == "__version__":
        return import_module("importlib.metadata").version(__name__)
    if name in _OLD:
        warnings.warn(f"pipeline.{name} is pipeline.{_OLD[name]} now", DeprecationWarning, stacklevel=2)
        name = _OLD[name]
    return _resolve(name)
