"""Finished masks: information, checks, export, areas, measurements and sidecars.

May import jobs, io, models and everything below them; nothing of runs, training, archives or the command line.
"""

from typing import TYPE_CHECKING

from pipeline.optional import lazy

if TYPE_CHECKING:
    from pipeline.masks.mask_file import MaskFile

__all__ = ["MaskFile"]

__getattr__ = lazy(__name__, {"pipeline.masks.mask_file": ("MaskFile",)})
