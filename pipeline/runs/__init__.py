"""One input from its job to its mask: plan, prepare, segment, publish.

May import masks, jobs, io, models and everything below them; nothing of training, archives or the command line.
"""

from typing import TYPE_CHECKING

from pipeline.optional import lazy

if TYPE_CHECKING:
    from pipeline.runs.observer import SILENT, Observer, RunContext, Stoppable
    from pipeline.runs.report import HELD
    from pipeline.runs.shared_workers import SharedWorkers

__all__ = ["HELD", "SILENT", "Observer", "RunContext", "SharedWorkers", "Stoppable"]

__getattr__ = lazy(
    __name__,
    {
        "pipeline.runs.observer": ("SILENT", "Observer", "RunContext", "Stoppable"),
        "pipeline.runs.report": ("HELD",),
        "pipeline.runs.shared_workers": ("SharedWorkers",),
    },
)
