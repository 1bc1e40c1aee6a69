"""Versions that decide the bytes of a mask: those of a worker must be those of the run that it works for."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any

from pipeline.errors import RequestError
from pipeline.files.process import machine

_ALL = ("pipeline", "torch", "numpy", "rasterio", "zarr", "numcodecs", "isal")
_SOME = ("openvino", "llvmlite")
"""Compared where both sides have them: a run that needs one says so itself."""


@cache
def versions_here() -> Mapping[str, str]:
    """Return the versions of this package, and of those that compute and pack what it writes."""
    found = {name: _version(name) for name in (*_ALL, *_SOME)}
    return MappingProxyType({name: said for name, said in found.items() if said is not None})


def _version(name: str) -> str | None:
    """Return a version without the kind of its build: a worker with a GPU may have another build of torch."""
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return None


def call_checked(versions: Mapping[str, str], packed: bytes) -> Any:  # noqa: ANN401  (what the function returns)
    """Call a function with its task, both packed by `pickle`, if the versions here are those of the caller.

    Raises:
        RequestError: If they are not, with both.

    """
    check_versions(versions)
    function, task = pickle.loads(packed)
    return function(task)


def check_versions(theirs: Mapping[str, str]) -> None:
    """Raise RequestError if a version here is not that of the caller, or is missing."""
    here = versions_here()
    names = [*_ALL, *(name for name in _SOME if name in here and name in theirs)]
    other = [f"{name} {here.get(name, 'none')} (here {theirs[name]})" for name in names if differs(name, here, theirs)]
    if other:
        raise RequestError(
            f"a worker on {machine()} has {', '.join(other)}, which may give other bytes; install the same versions on "
            "all machines: pip install -c constraints.txt"
        )


def differs(name: str, here: Mapping[str, str], theirs: Mapping[str, str]) -> bool:
    """Return whether the caller has another version of a package than this process."""
    return name in theirs and here.get(name) != theirs[name]


def without_package(error: ModuleNotFoundError) -> Exception:
    """Return the error of a worker that lacks this package, or has a version without one of its modules."""
    if not (error.name or "").startswith("pipeline"):
        return error
    return RequestError(
        f"a worker cannot import {error.name}; install pipeline {versions_here()['pipeline']} there, the version here"
    )
