"""Weights of other projects, read safely and made into models or backbones of this one."""

from pipeline.models.importing.importer import Imported, import_weights
from pipeline.models.importing.options import Wishes

__all__ = ["Imported", "Wishes", "import_weights"]
