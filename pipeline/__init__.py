"""Batch segmentation of very large images: GeoTIFF scenes and NIfTI volumes to masks, with PSPNet.

The public names are imported when they are first used, so that nothing is loaded that is not needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Box": "pipeline.geometry",
    "Grid": "pipeline.geometry",
    "Job": "pipeline.jobs.job",
    "Means": "pipeline.jobs.job",
    "PipelineError": "pipeline.errors",
    "Pixels": "pipeline.engine",
    "Predictor": "pipeline.engine",
    "Report": "pipeline.runs.report",
    "Source": "pipeline.engine",
    "evaluate": "pipeline.evaluation.compare",
    "export": "pipeline.masks.export",
    "load_model": "pipeline.models.store",
    "open_source": "pipeline.io.opening",
    "plan": "pipeline.runs.plan",
    "segment": "pipeline.runs.segment",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:  # noqa: ANN401  (any of the names)
    if name == "__version__":
        return import_module("importlib.metadata").version(__name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
