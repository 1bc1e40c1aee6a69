"""What is imported only when it is needed: names of a package, and libraries that an extra of this one brings."""

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
}


def lazy(package: str, names: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Make the `__getattr__` of a package: it imports a name, listed by its module, when it is first used."""
    homes = {name: module for module, own in names.items() for name in own}

    def resolve(name: str) -> Any:  # noqa: ANN401  (any of the names)
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return resolve


def need(extra: str, what: str) -> None:
    """Raise RequestError, saying `what` needs them, where libraries of an extra are not installed."""
    missing = [name for name in _BRINGS[extra] if find_spec(name) is None]
    if missing:
        raise RequestError(f"{what}: needs {', '.join(missing)}, not installed here; pip install 'pipeline[{extra}]'")
