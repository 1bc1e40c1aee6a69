"""Weights of other projects, read safely and made into models or backbones of this one."""

from pipeline.models.checkpoint.importing import Imported, import_weights
from pipeline.models.checkpoint.wishes import Wishes

__all__ = ["Imported", "Wishes", "import_weights"]
