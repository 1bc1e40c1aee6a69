"""Times of change, as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

_SECOND = 10**9


def readable_time(nanoseconds: int) -> str:
    """Return a time since 1970 as date and time in UTC, with all digits of its second.

    >>> readable_time(1795958136326514027)
    '2026-11-29 13:15:36.326514027 UTC'
    """
    seconds, part = divmod(nanoseconds, _SECOND)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{part:09d} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{nanoseconds} ns"
