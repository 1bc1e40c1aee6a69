"""Map a function over tasks with Dask, in this process. What is for worker processes takes half a second to import."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from dask.base import compute
from dask.delayed import delayed
from dask.threaded import get

Task = TypeVar("Task")
Result = TypeVar("Result")


def map_local(function: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
    """Call `function` with each task on Dask's threads, one at a time: each task has threads of its own.

    Arguments of its own would be searched by Dask for what is delayed, field by field.
    """
    calls = [delayed(partial(function, task), traverse=False)() for task in tasks]
    return list(compute(*calls, scheduler=get, num_workers=1))
