"""Which ONNX Runtime is installed: told without importing it."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

_NAMES = ("onnxruntime", "onnxruntime-gpu")


def runtime_version() -> str | None:
    """Return the version of ONNX Runtime, whose kernels decide how sums are rounded; None: it is not installed."""
    for name in _NAMES:
        with suppress(PackageNotFoundError):
            return version(name)
    return None
