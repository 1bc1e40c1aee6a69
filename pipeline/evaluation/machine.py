"""On what a model was measured: time and memory mean nothing without it."""

from __future__ import annotations

import os
from typing import Any

from pipeline.files.process import peak_memory
from pipeline.jobs.job import Job, Resources
from pipeline.runs.prepare import prepare


def machine_of(job: Job, resources: Resources) -> dict[str, Any]:
    """Return, as JSON values, in what numbers the models of a job are computed here, and the peak memory so far."""
    numerics = prepare(job, resources).numerics
    return {
        "processors": os.cpu_count(),
        "device": numerics.device,
        "precision": numerics.precision,
        "runtime": numerics.runtime,
        "peak_memory_bytes": peak_memory(),
    }
