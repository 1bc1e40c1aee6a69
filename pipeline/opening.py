"""The input of a job, opened as the job asks for it."""

from __future__ import annotations

from pipeline.engine import Source
from pipeline.io.formats import open_source
from pipeline.job import Job


def open_input(job: Job) -> Source:
    """Open the input of a job. Raises InputError with the path, what was found and the way out."""
    return open_source(
        job.input,
        bands=job.bands,
        affine=job.affine or "strict",
        volume=job.volume,
        keep_text=bool(job.keep_header_text),
    )
