"""The progress of a run, as a person sees it: bars on a terminal and in a notebook, lines elsewhere.

May import runs and everything below it; nothing of archives, reports, flows or the command line.
"""

from typing import TYPE_CHECKING

from pipeline.optional import lazy

if TYPE_CHECKING:
    from pipeline.display.progress import Progress

__all__ = ["Progress"]

__getattr__ = lazy(__name__, {"pipeline.display.progress": ("Progress",)})
