"""The progress of a run in words."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.display.board import ItemState, RunState
from pipeline.errors import duration_text
from pipeline.files.visible import visible


def lines_of(run: RunState) -> list[str]:
    """Return how far a run is: a line for all items if there are several, and one for each in flight."""
    memory = memory_text(run)
    if run.count > 1:
        facts = (percent(run.share), failed_text(run), rate_text(run.rate), left_text(run.seconds_left), memory)
        return [f"{count_text(run)}: {_listed(*facts)}", *(_line(item, run.count) for item in flying(run))]
    return [_line(item, 1, memory) for item in flying(run)] or [f"still running, {memory}"]


def flying(run: RunState) -> Iterator[ItemState]:
    """Yield the items in flight, in the order of their places."""
    return (item for item in run.items if item is not None)


def _line(item: ItemState, count: int, *more: str) -> str:
    facts = (percent(item.share), rate_text(item.rate), time_text(item), *more)
    return ": ".join(filter(None, [label_of(item, count), phase_text(item), _listed(*facts)]))


def _listed(*facts: str) -> str:
    return ", ".join(filter(None, facts))


def label_of(item: ItemState, count: int) -> str:
    """Return the name of an item, with its number if there are several."""
    return visible(f"{item.number}/{count} {item.name}" if item.number and count > 1 else item.name)


def count_text(run: RunState) -> str:
    """Return how many items have ended.

    >>> count_text(RunState(1200, 3, 0, 0.0, None, None, 0, ()))
    '3/1,200 items'
    """
    return f"{run.ended:,}/{run.count:,} items"


def failed_text(run: RunState) -> str:
    """Return how many items have failed."""
    return f"{run.failed:,} failed"


def memory_text(run: RunState) -> str:
    """Return the memory in use, always about as wide.

    >>> memory_text(RunState(1, 0, 0, 0.0, None, None, 300 << 20, ()))
    'memory 300 MiB'
    """
    known = f"{run.memory / 2**30:,.1f} GiB" if run.memory >= 2**30 else f"{run.memory / 2**20:.0f} MiB"
    return f"memory {known}"


def phase_text(item: ItemState) -> str:
    """Return the phase of an item; before its first one it is prepared."""
    return visible(item.phase) or ("preparing" if item.share is None else "")


def percent(share: float | None) -> str:
    """Return a share, rounded down, so that 100 % is all of it.

    >>> percent(0.999), percent(1.0), percent(None)
    ('99%', '100%', '')
    """
    return "" if share is None else f"{int(100 * share)}%"


def rate_text(rate: float | None) -> str:
    """Return cells per second."""
    return "" if rate is None else f"{rate / 1e6:.2f} Mpx/s"


def left_text(seconds: float | None) -> str:
    """Return the time that is left."""
    return "" if seconds is None else f"{duration_text(seconds)} left"


def time_text(item: ItemState) -> str:
    """Return the time that is left of an item; where that is not known, how long its phase has taken."""
    return left_text(item.seconds_left) or duration_text(item.seconds)
