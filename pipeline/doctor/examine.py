"""Examine everything, topic by topic; what cannot be looked at is a finding too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

from pipeline.doctor.finding import Check, Finding, State, broken
from pipeline.doctor.terminal import home_hidden
from pipeline.doctor.versions import About


def check_in(module: str, name: str) -> Check:
    """Return a check that is imported when it is done: the library that it looks at may be what is broken."""

    def look() -> Iterator[Finding]:
        check: Check = getattr(import_module(f"pipeline.doctor.{module}"), name)
        yield from check()

    return look


CHECKS: dict[str, Check] = {
    "packages": check_in("versions", "check_requirements"),
    "extras": check_in("versions", "check_extras"),
    "device": check_in("hardware", "check_device"),
    "speed": check_in("hardware", "check_speed"),
    "models": check_in("weights", "check_models"),
    "GDAL": check_in("rasters", "check_drivers"),
    "PROJ": check_in("rasters", "check_crs"),
    "memory": check_in("machine", "check_memory"),
    "disk": check_in("machine", "check_disk"),
    "Prefect": check_in("server", "check_server"),
    "terminal": check_in("terminal", "check_terminal"),
}
"""By topic, in the order in which they are shown."""
_SERIOUS: tuple[State, ...] = ("ok", "remark", "broken")


@dataclass(frozen=True)
class Examination:
    """What was found."""

    about: About
    findings: tuple[Finding, ...]

    @property
    def state(self) -> State:
        """The state of the worst finding."""
        return max((finding.state for finding in self.findings), key=_SERIOUS.index, default="ok")

    def to_json(self) -> dict[str, Any]:
        """Return the examination as JSON values."""
        return {**asdict(self.about), "state": self.state, "findings": [asdict(each) for each in self.findings]}


def examine(checks: Mapping[str, Check] | None = None) -> Iterator[Finding]:
    """Yield what each check finds, as it finds it, without the name of the home folder; None: all checks."""
    for topic, check in (CHECKS if checks is None else checks).items():
        try:
            yield from map(home_hidden, check())
        except Exception as error:
            text = f"cannot be looked at: {type(error).__name__}: {error}"
            yield home_hidden(broken(topic, text, "run `pipeline --debug doctor`, and report what it shows"))
