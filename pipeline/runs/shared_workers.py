"""Workers that the items of a run share: the next item begins once no task of those before it waits for a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from threading import Event, Lock, Thread, current_thread
from time import sleep
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")
MOST = 8
"""Items in flight at most: each may hold a source, and write its mask, in this process."""
_MOMENT = 1.0
"""Seconds to wait for an item to leave its lock."""
_LOOK = 0.05
"""Seconds between two looks at whether the next item may begin."""


class Workers(Protocol):
    """What tasks are given to, from several threads at a time."""

    @property
    def slots(self) -> int:
        """Tasks that run at a time."""

    @property
    def unfinished(self) -> int:
        """Tasks that wait or run."""

    def map(
        self,
        function: Callable[[Task], Result],
        tasks: Callable[[int], Mapping[str, Task]],
        *,
        tick: Callable[[], None],
        submitted: Callable[[], None],
    ) -> list[Result]:
        """Call `function` with each task, and return all results; `submitted` is called when all tasks are there."""

    def close(self) -> None:
        """Stop what runs."""


class SharedWorkers:
    """Workers that start with the first item that has tasks, and stay until the last one has ended.

    Used as a context manager. Items are prepared one after the other, in their order, and only their tasks run beside
    those of others.
    """

    def __init__(self) -> None:
        self._lock, self._stop = Lock(), Event()
        self._workers: Workers | None = None
        self._running: set[Thread] = set()
        self._preparing: set[Thread] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stop.set()
        if self._workers is not None:
            self._workers.close()
        for thread in list(self._running):  # after a second Ctrl-C, which waits for no mask to be written
            thread.join(_MOMENT)

    @property
    def stop(self) -> Event:
        """Set when the items in flight are to stop, because the run has failed."""
        return self._stop

    def map(
        self,
        start: Callable[[], Workers],
        function: Callable[[Task], Result],
        tasks: Callable[[int], Mapping[str, Task]],
        *,
        tick: Callable[[], None],
    ) -> list[Result]:
        """Call `function` with each task on the workers, which `start` starts unless they are there."""
        with self._lock:
            self._workers = self._workers or start()
        return self._workers.map(function, tasks, tick=tick, submitted=self._submitted)

    def mapped(self, call: Callable[..., Result], *arguments: Iterable[Any]) -> list[Result]:
        """Like `map`, but with several calls at a time: the next one begins when the tasks of others leave room.

        If a call fails, the others stop and no further one begins.
        """
        begun: list[Future[Result]] = []
        for words in zip(*arguments, strict=True):
            while not self._has_room() and not self._stop.is_set():
                sleep(_LOOK)
            if self._stop.is_set():
                break
            begun.append(self._begin(call, words))
        return self._results(begun)

    def _results(self, begun: list[Future[Result]]) -> list[Result]:
        while self._running:
            sleep(_LOOK)
        failed = next((future for future in begun if isinstance(future.exception(), Exception)), None)
        return [future.result() for future in ([failed] if failed else begun)]

    def _has_room(self) -> bool:
        if self._workers is None:
            return not self._running
        most = min(MOST, self._workers.slots + 2)  # one is prepared, and the mask of another written
        none_waits = self._workers.unfinished <= self._workers.slots
        return none_waits and not self._preparing and len(self._running) < most

    def _submitted(self) -> None:
        self._preparing.discard(current_thread())

    def _begin(self, call: Callable[..., Result], words: tuple[Any, ...]) -> Future[Result]:
        future: Future[Result] = Future()
        thread = Thread(target=self._run, args=(future, call, words), daemon=True)  # a second Ctrl-C waits for none
        self._preparing.add(thread)
        self._running.add(thread)
        thread.start()
        return future

    def _run(self, future: Future[Result], call: Callable[..., Result], words: tuple[Any, ...]) -> None:
        try:
            future.set_result(call(*words))
        except BaseException as error:
            self._stop.set()
            future.set_exception(error)
        finally:
            self._preparing.discard(current_thread())
            self._running.discard(current_thread())
