"""Read the files of a browser library."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

_VENDOR = files("pipeline.web") / "vendor"


def part(library: str, name: str) -> Traversable:
    """Return a file of a library, such as `part("ol", "ol.js")`; `LICENSE` and `VERSION` are files of each."""
    return _VENDOR / library / name


def libraries() -> list[str]:
    """Return the names of all libraries, sorted."""
    return sorted(entry.name for entry in _VENDOR.iterdir() if entry.is_dir())
