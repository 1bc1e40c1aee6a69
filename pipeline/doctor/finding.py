"""Findings: what is, whether it is well, and what to do if it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["ok", "remark", "broken"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    """A word or two: versions, device, disk."""
    state: State
    """"ok"; "remark": it works, but could be better; "broken": something will fail."""
    text: str
    advice: str = ""
    """What to do about it; empty: nothing."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same for programs, as JSON values."""


Check = Callable[[], Iterator[Finding]]
"""Looks at one topic."""


def ok(topic: str, text: str, **facts: Any) -> Finding:  # noqa: ANN401  (JSON values)
    """Return a finding that is well."""
    return Finding(topic, "ok", text, facts=facts)


def remark(topic: str, text: str, advice: str, **facts: Any) -> Finding:  # noqa: ANN401
    """Return a finding of what works, but could be better."""
    return Finding(topic, "remark", text, advice, facts)


def broken(topic: str, text: str, advice: str, **facts: Any) -> Finding:  # noqa: ANN401
    """Return a finding of what will fail."""
    return Finding(topic, "broken", text, advice, facts)
