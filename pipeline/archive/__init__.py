"""Many inputs: which are done, which are left, which failed and why; and the run that goes through them."""

from typing import TYPE_CHECKING

from pipeline.optional import lazy

if TYPE_CHECKING:
    from pipeline.archive.archive import Archive, Choice, archive_at
    from pipeline.archive.ledger import LEDGER_NAME
    from pipeline.archive.run import failure, go_through

__all__ = ["LEDGER_NAME", "Archive", "Choice", "archive_at", "failure", "go_through"]

__getattr__ = lazy(
    __name__,
    {
        "pipeline.archive.archive": ("Archive", "Choice", "archive_at"),
        "pipeline.archive.ledger": ("LEDGER_NAME",),
        "pipeline.archive.run": ("failure", "go_through"),
    },
)
