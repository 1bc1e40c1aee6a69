"""What commands print, without what depends on the speed of the machine."""

from __future__ import annotations

import re

_FACTS = r"(, \d+ failed)?(, [\d.]+ Mpx/s)?(, [\d.,]+ (s|min|h)( left)?)?(, memory [\d.,]+ [KMG]iB)?"
_PROGRESS = rf"^(.*: (\d+%{_FACTS}|[\d.,]+ (s|min|h)(, memory [\d.,]+ [KMG]iB)?)|still running, .*)\n"


def without_progress(printed: str) -> str:
    """Drop the lines of progress that a command prints if it takes long and stderr is not a terminal."""
    return re.sub(_PROGRESS, "", printed, flags=re.MULTILINE)
