"""Calls that run one after the other on a thread, behind the one that asks for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future


class CallQueue:
    """Runs calls in order on a pool of one thread; after one that fails, none of those behind it."""

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._waiting: deque[Future[None]] = deque()
        self._failed = False

    def put(self, call: Callable[[], None]) -> None:
        """Run `call` after those before it."""
        self._waiting.append(self._pool.submit(self._run, call))

    def settle(self, left: int = 0) -> None:
        """Wait until no more than `left` calls are left. Raises what one of them raised."""
        while len(self._waiting) > left:
            self._waiting.popleft().result()

    def _run(self, call: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            call()
        except BaseException:
            self._failed = True
            raise
