"""Many inputs: which are done, left or failed and why, and the run through all of them.

May import runs, masks, jobs and everything below them; nothing of evaluation, flows or the command line.
"""

from typing import TYPE_CHECKING

from pipeline.optional import lazy

if TYPE_CHECKING:
    from pipeline.archive.archive import WAIT, Archive, WorkItem, open_archive
    from pipeline.archive.ledger import LEDGER_NAME
    from pipeline.archive.run import failure_report, run_items, segment_all

__all__ = ["LEDGER_NAME", "WAIT", "Archive", "WorkItem", "failure_report", "open_archive", "run_items", "segment_all"]

__getattr__ = lazy(
    __name__,
    {
        "pipeline.archive.archive": ("WAIT", "Archive", "WorkItem", "open_archive"),
        "pipeline.archive.ledger": ("LEDGER_NAME",),
        "pipeline.archive.run": ("failure_report", "run_items", "segment_all"),
    },
)
