"""What flows ask of the Prefect server: a concurrency limit, and whether they were canceled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from threading import Event, Thread
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound, PrefectException

from pipeline.errors import RequestError

LOOK = 2.0
"""Seconds between two looks at whether a flow run was canceled."""


def ensure_limit(name: str, slots: int) -> None:
    """Create a global concurrency limit if there is none of that name; one that exists is left as it is.

    Raises:
        RequestError: If it cannot have that name.

    """
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            client.create_global_concurrency_limit(_limit(name, slots))


def _limit(name: str, slots: int) -> GlobalConcurrencyLimitCreate:
    try:
        return GlobalConcurrencyLimitCreate(name=name, limit=slots)
    except ValueError as error:
        raise RequestError(
            f"limit {name!r}: cannot be the name of a concurrency limit; use letters and digits"
        ) from error


@contextmanager
def stopped_when_canceled(stop: Event) -> Iterator[None]:
    """Set `stop` when this flow run is canceled on the server.

    A run of a deployment is ended by the process that started it; of any other, nobody else would notice.
    """
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    if run is None or run.deployment_id is not None:
        yield
        return
    over = Event()
    thread = Thread(target=copy_context().run, args=(_look, run.id, stop, over), name="cancellation", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _look(run: UUID, stop: Event, over: Event) -> None:
    """Set `stop` once a flow run is canceled, unless it is over before."""
    with get_client(sync_client=True) as client:
        while not over.wait(LOOK):
            with suppress(httpx.HTTPError, PrefectException):
                state = client.read_flow_run(run).state
                if state is not None and (state.is_cancelling() or state.is_cancelled()):
                    stop.set()
                    return
