"""Libraries that only some need, and that an extra of this package brings."""

from __future__ import annotations

from importlib.util import find_spec

from pipeline.errors import RequestError

_BRINGS = {
    "dicom": ("pydicom", "highdicom"),
    "nrrd": ("nrrd",),
    "vectors": ("pyogrio", "shapely", "pyarrow"),
    "stac": ("pystac_client",),
}


def need(extra: str, what: str) -> None:
    """Raise RequestError, saying `what` needs them, where libraries of an extra are not installed."""
    missing = [name for name in _BRINGS[extra] if find_spec(name) is None]
    if missing:
        raise RequestError(f"{what}: needs {', '.join(missing)}, not installed here; pip install 'pipeline[{extra}]'")
