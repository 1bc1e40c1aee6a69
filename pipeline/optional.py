"""Lazy imports: public names of a package, and libraries that are installed by an extra."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from pipeline.errors import RequestError

_BRINGS = {
    "dicom": ("pydicom", "highdicom"),
    "nrrd": ("nrrd",),
    "vectors": ("pyogrio", "shapely", "pyarrow"),
    "stac": ("pystac_client",),
    "postgres": ("psycopg",),
    "onnx": ("onnx", "onnxruntime"),
    "objects": ("obstore",),
    "hub": ("huggingface_hub",),
}


def lazy(package: str, names: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return a `__getattr__` for a package that imports each name from its module on first use."""
    homes = {name: module for module, own in names.items() for name in own}

    def resolve(name: str) -> Any:  # noqa: ANN401  (any of the names)
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return resolve


def need(extra: str, what: str) -> None:
    """Check that the libraries of an extra are installed.

    Raises:
        RequestError: if any is missing; the message begins with `what`, the feature that requires them.

    """
    missing = [name for name in _BRINGS[extra] if find_spec(name) is None]
    if missing:
        raise RequestError(f"{what}: requires {', '.join(missing)}, not installed; run pip install 'pipeline[{extra}]'")
