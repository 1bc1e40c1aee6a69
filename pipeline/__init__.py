"""Batch segmentation of very large images: GeoTIFF scenes and NIfTI volumes to masks, with PSPNet.

The public names are imported when they are first used, so that nothing is loaded that is not needed.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

_HOME = {
    "Box": "pipeline.geometry",
    "Grid": "pipeline.geometry",
    "Job": "pipeline.jobs.job",
    "PipelineError": "pipeline.errors",
    "Pixels": "pipeline.engine",
    "Predictor": "pipeline.engine",
    "Report": "pipeline.runs.report",
    "Resources": "pipeline.jobs.job",
    "Source": "pipeline.engine",
    "evaluate": "pipeline.evaluation.compare",
    "export": "pipeline.masks.export",
    "load_model": "pipeline.models.store",
    "open_source": "pipeline.io.opening",
    "plan": "pipeline.runs.plan",
    "segment": "pipeline.runs.segment",
}

_OLD = {"Means": "Resources"}
"""Names of before, by which programs may still ask for what has another one now."""

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:  # noqa: ANN401  (any of the names)
    if name == "__version__":
        return import_module("importlib.metadata").version(__name__)
    if name in _OLD:
        warnings.warn(f"pipeline.{name} is pipeline.{_OLD[name]} now", DeprecationWarning, stacklevel=2)
        name = _OLD[name]
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
