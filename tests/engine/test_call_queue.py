"""Calls that run behind: in order, and none behind one that failed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

import pytest

from pipeline.engine.call_queue import CallQueue


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_calls_run_in_order_and_are_waited_for(pool):
    queue, ran, go = CallQueue(pool), [], Event()
    queue.put(go.wait)
    for number in range(20):
        queue.put(partial(ran.append, number))
    assert ran == []
    go.set()
    queue.settle(left=5)
    assert len(ran) >= 15
    queue.settle()
    assert ran == list(range(20))


def test_nothing_runs_behind_a_call_that_failed(pool):
    queue, ran = CallQueue(pool), []

    def fails():
        raise OSError("full")

    for call in (partial(ran.append, 1), fails, partial(ran.append, 2)):
        queue.put(call)
    with pytest.raises(OSError, match="full"):
        queue.settle()
    queue.settle()
    queue.put(partial(ran.append, 3))
    queue.settle()
    assert ran == [1]
