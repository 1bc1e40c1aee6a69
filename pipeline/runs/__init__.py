"""How one input goes, from a job to its mask."""

from typing import TYPE_CHECKING

from pipeline.optional import lazy

if TYPE_CHECKING:
    from pipeline.runs.observer import SILENT, Observer, RunContext, Stoppable

__all__ = ["SILENT", "Observer", "RunContext", "Stoppable"]

__getattr__ = lazy(
    __name__,
    {
        "pipeline.runs.observer": ("SILENT", "Observer", "RunContext", "Stoppable"),
    },
)
