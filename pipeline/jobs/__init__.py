"""Jobs, requests and job files: what to segment and how, and the inputs that they name.

May import io, models and everything below them; nothing of runs, archives or the command line.
"""

from typing import TYPE_CHECKING

from pipeline.optional import lazy

if TYPE_CHECKING:
    from pipeline.files.object_path import OutputPath
    from pipeline.jobs.inputs import jobs_of
    from pipeline.jobs.job_file import check, read_request
    from pipeline.jobs.outputs import folder_of
    from pipeline.jobs.request import Request

__all__ = ["OutputPath", "Request", "check", "folder_of", "jobs_of", "read_request"]

__getattr__ = lazy(
    __name__,
    {
        "pipeline.files.object_path": ("OutputPath",),
        "pipeline.jobs.inputs": ("jobs_of",),
        "pipeline.jobs.job_file": ("check", "read_request"),
        "pipeline.jobs.outputs": ("folder_of",),
        "pipeline.jobs.request": ("Request",),
    },
)
