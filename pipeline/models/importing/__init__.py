"""Weights of other projects, read safely and made into models or backbones of this one.

The public names are imported when they are first used: the command line needs the options without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {"Imported": "importer", "Wishes": "options", "import_weights": "importer"}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:  # noqa: ANN401  (any of the names)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
