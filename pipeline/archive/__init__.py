"""Many inputs: which are done, left or failed and why, and the run through all of them.

May import runs, masks, jobs and everything below them; nothing of evaluation, flows or the command line.
"""

from typing import TYPE_CHECKING

from pipeline.optional import lazy

if TYPE_CHECKING:
    from pipeline.archive.archive import WAIT, Archive, WorkItem, open_archive
    from pipeline.archive.catch_up import caught_up, note_searched
    from pipeline.archive.copied_ledger import ledger_here
    from pipeline.archive.place import LEDGER_NAME, Place, ledger_of, place_of
    from pipeline.archive.run import failure_report, run_items, segment_all

__all__ = [
    "LEDGER_NAME",
    "WAIT",
    "Archive",
    "Place",
    "WorkItem",
    "caught_up",
    "failure_report",
    "ledger_here",
    "ledger_of",
    "note_searched",
    "open_archive",
    "place_of",
    "run_items",
    "segment_all",
]

__getattr__ = lazy(
    __name__,
    {
        "pipeline.archive.archive": ("WAIT", "Archive", "WorkItem", "open_archive"),
        "pipeline.archive.catch_up": ("caught_up", "note_searched"),
        "pipeline.archive.copied_ledger": ("ledger_here",),
        "pipeline.archive.place": ("LEDGER_NAME", "Place", "ledger_of", "place_of"),
        "pipeline.archive.run": ("failure_report", "run_items", "segment_all"),
    },
)
