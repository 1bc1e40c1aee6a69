"""Observers of which a test says what they do."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any

from pipeline.runs.observer import Observer


class Callbacks(Observer):
    """An observer whose methods are the functions that are given by their names; it stops once `stop` is set."""

    def __init__(self, stop: Event | None = None, **calls: Callable[..., Any]) -> None:
        if unknown := calls.keys() - set(dir(Observer)):
            raise TypeError(f"an observer has no {', '.join(unknown)}")
        self.__dict__.update(calls)
        self._stop = stop or Event()

    def should_stop(self) -> bool:
        return self._stop.is_set()
