"""Weights of other projects, read safely and made into models or backbones of this one.

The public names are imported when they are first used: the command line needs the options without torch.
May import other modules of models and the floors below it; nothing of io or jobs.
"""

from typing import TYPE_CHECKING

from pipeline.optional import lazy

if TYPE_CHECKING:
    from pipeline.models.importing.importer import ImportResult, import_weights
    from pipeline.models.importing.options import ImportOptions

__all__ = ["ImportOptions", "ImportResult", "import_weights"]

__getattr__ = lazy(
    __name__,
    {
        "pipeline.models.importing.importer": ("ImportResult", "import_weights"),
        "pipeline.models.importing.options": ("ImportOptions",),
    },
)
