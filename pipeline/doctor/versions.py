"""Versions: of Python, of this package, and of what it requires; by the metadata alone, so that nothing is imported."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version

from packaging.requirements import Requirement

from pipeline.doctor.finding import Finding, broken, ok, remark

PACKAGE = "pipeline"
SHOWN = ("torch", "numpy", "rasterio", "nibabel", "zarr", "dask", "prefect", "typer")
"""Packages whose versions are always shown."""
WHY = {
    "fastapi": "Prefect 3.8 accepts it, but its server does not start with it",
    "sqlalchemy": "Prefect 3.8 accepts it, but its scheduler creates no runs with it",
    "torch": "newer builds compute some convolutions in bfloat16 one value at a time",
}
"""By package: what goes wrong with a version that is not accepted, where that is known."""
FOR = {
    "dicom": "DICOM series, and masks as DICOM Segmentation",
    "nrrd": "NRRD volumes",
    "vectors": "polygons of masks; areas of interest and zones from files",
    "stac": "STAC items and searches",
    "objects": "volumes and archives in object stores, and outputs there",
    "postgres": "ledgers in PostgreSQL",
    "hub": "models on a hub, hf:owner/name",
    "onnx": "networks in ONNX files",
    "train": "pipeline train",
    "openvino": "OpenVINO, and int8 on a CPU",
    "kernels": "compiled kernels of the sweep, for long runs",
    "testing": "contracts for your own sources, sinks and predictors",
}
"""By extra: what it is for."""
NOT_FOR_USERS = ("dev", "docs")
"""Extras for the development of this project."""


@dataclass(frozen=True)
class About:
    """What runs where."""

    pipeline: str
    python: str
    system: str


def about() -> About:
    """Return what runs where."""
    words = (platform.system(), platform.release(), platform.machine())
    return About(version(PACKAGE), platform.python_version(), " ".join(words))


@dataclass(frozen=True)
class Required:
    """A package that is required, and the version that is there."""

    requirement: Requirement
    found: str | None

    @property
    def fits(self) -> bool:
        """Whether it is there in a version that is accepted."""
        return self.found is not None and self.requirement.specifier.contains(self.found, prereleases=True)

    def __str__(self) -> str:
        wanted = f"{self.requirement.name}{self.requirement.specifier}"
        return f"{self.requirement.name} {self.found}, and {wanted} is accepted" if self.found else f"no {wanted}"


def required(extra: str | None = None) -> list[Required]:
    """Return what the package requires, or one of its extras in addition."""
    stated = [Requirement(line) for line in distribution(PACKAGE).requires or ()]
    here = {"extra": extra or ""}
    known = [one for one in stated if (one.marker is None) == (extra is None) and _holds(one, here)]
    return [Required(one, _version_of(one.name)) for one in known if one.name != PACKAGE]


def _holds(requirement: Requirement, here: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(here)


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def check_requirements() -> Iterator[Finding]:
    """Look at Python and at the packages that are required."""
    accepted = distribution(PACKAGE).metadata["Requires-Python"]
    if not Requirement(f"python{accepted}").specifier.contains(platform.python_version()):
        yield broken("packages", f"Python {platform.python_version()}, and {accepted} is accepted", "use such a Python")
    found = required()
    shown = {name: known for name in SHOWN if (known := _version_of(name)) is not None}
    every = {one.requirement.name: one.found for one in found}
    wrong = [one for one in found if not one.fits]
    listed = ", ".join(f"{name} {known}" for name, known in shown.items())
    yield ok("packages", listed + ("" if wrong else f"; all {len(found)} are as required"), versions=every)
    yield from map(_wrong, wrong)


def _wrong(one: Required) -> Finding:
    name = one.requirement.name
    why = f": {WHY[name]}" if name in WHY and one.found is not None else ""
    return broken("packages", f"{one}{why}", _install([one]), package=name, version=one.found)


def _install(packages: Iterable[Required]) -> str:
    wanted = " ".join(f"'{one.requirement.name}{one.requirement.specifier}'" for one in packages)
    return f"{_pip()} install {wanted}"


def _pip() -> str:
    """Return pip of this Python, as it is called where it is the one of an active environment."""
    return "pip" if sys.prefix != sys.base_prefix else "python -m pip"


def extras() -> list[str]:
    """Return the extras for users."""
    stated = distribution(PACKAGE).metadata.get_all("Provides-Extra") or []
    return [extra for extra in stated if extra not in NOT_FOR_USERS]


def check_extras() -> Iterator[Finding]:
    """Look at the extras: which are installed, and what others are for."""
    found = {extra: required(extra) for extra in extras()}
    for extra, packages in found.items():
        if faults := _faults(packages):
            told = "; ".join(map(str, faults))
            yield remark("extras", f"{extra}: {told}", f"{_pip()} install '{PACKAGE}[{extra}]'")
    there = [extra for extra, packages in found.items() if all(one.found for one in packages)]
    yield ok("extras", f"installed: {', '.join(there) or 'none'}", installed=there)
    if missing := [extra for extra in found if extra not in there]:
        told = "; ".join(map(_described, missing))
        yield ok("extras", f"not installed: {told}; {_pip()} install '{PACKAGE}[NAME]'", missing=missing)


def _faults(packages: list[Required]) -> list[Required]:
    """Return what does not fit of an extra, and what it lacks if more than half of it is there: then it was wanted."""
    lacking = [one for one in packages if one.found is None]
    wrong = [one for one in packages if one.found is not None and not one.fits]
    return [*wrong, *lacking] if 2 * len(lacking) < len(packages) else wrong


def _described(extra: str) -> str:
    return f"{extra} (for {FOR[extra]})" if extra in FOR else extra
