"""Run the watch flow on a schedule, as a deployment of Prefect that is served here or by the workers of a pool."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import cast

import httpx
from prefect import serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.types.entrypoint import EntrypointType

from flows import DEFAULTS
from flows.item import Bounds
from flows.naming import TAG
from flows.watch import watch_flow
from pipeline import Resources
from pipeline.errors import PipelineError, RequestError
from pipeline.jobs import check, read_request

HOST, PORT = "127.0.0.1", 4200
"""Address of a temporary server: Prefect's default."""
_PATIENCE = 120.0
"""Seconds to wait for a server to start."""
_ALONE = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
"""A run is skipped while the one before it is running. A killed run releases its slot after about five minutes."""


@dataclass(frozen=True)
class Schedule:
    """When the flow runs: one of the two."""

    every: timedelta | None = None
    cron: str | None = None

    def __post_init__(self) -> None:
        if (self.every is None) == (self.cron is None):
            raise RequestError('give one of --every and --cron, e.g. --every 15m or --cron "0 3 * * *"')


@dataclass(frozen=True)
class WatchParameters:
    """Parameters of the watch flow."""

    config: Path
    """The job file."""
    settle: float = 10.0
    """Seconds for which a file must not have changed."""
    means: Resources = Resources()
    bounds: Bounds = Bounds()
    ledger: str | None = None
    """A file, or the address of a database without its password."""
    report: bool = False


def create_deployment(
    watching: WatchParameters, when: Schedule, name: str | None = None, pool: str | None = None
) -> RunnerDeployment:
    """Return the deployment `watch/<name>`, named after the job file by default.

    No server is contacted; the job file is read to check it.

    Raises:
        RequestError: If the job file or the schedule is not valid.

    """
    check(read_request(watching.config))
    try:
        made = watch_flow.to_deployment(
            name or watching.config.stem,
            interval=when.every,
            cron=when.cron,
            parameters={**asdict(watching), "config": str(watching.config.absolute())},
            tags=[TAG],
            concurrency_limit=_ALONE,
            work_pool_name=pool,
            job_variables={"env": DEFAULTS} if pool else None,
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
    except ValueError as error:
        raise RequestError(f"{when.cron!r}: is not a cron schedule ({error}); e.g. --cron '0 3 * * *'") from error
    return cast("RunnerDeployment", made)  # a coroutine only where one is awaited


def serve_deployment(deployment: RunnerDeployment) -> None:
    """Run the flow on its schedule until this process is stopped, on the configured server or on a temporary one."""
    with prefect_server():
        serve(deployment, limit=1)


def apply_to_pool(deployment: RunnerDeployment) -> str:
    """Create the deployment on the configured server, for the workers of its pool; return its name there.

    Raises:
        RequestError: If no server is configured.
        PipelineError: If it refuses the deployment.

    """
    if PREFECT_API_URL.value() is None:
        raise RequestError(
            "--pool needs a Prefect server; set its address with `prefect config set PREFECT_API_URL=...`"
        )
    try:
        deployment.apply()
    except (ValueError, RuntimeError, httpx.HTTPError) as error:
        raise PipelineError(
            f"Prefect did not accept the deployment ({error}); does its work pool exist? "
            f"`prefect work-pool create {deployment.work_pool_name} --type process`"
        ) from error
    return deployment.full_name


@contextmanager
def prefect_server() -> Iterator[str]:
    """Yield the address of the configured server, of one that answers here, or of one that runs meanwhile."""
    if (known := PREFECT_API_URL.value()) is not None:
        yield known
        return
    address = f"http://{HOST}:{PORT}/api"
    with temporary_settings({PREFECT_API_URL: address}):
        if _answers(address):
            yield address
            return
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(PORT)]
        server = subprocess.Popen([*command, "--log-level", "ERROR"], stdout=subprocess.DEVNULL)
        try:
            _wait(server, address)
            yield address
        finally:
            server.terminate()
            server.wait()


def _wait(server: subprocess.Popen[bytes], address: str) -> None:
    until = time.monotonic() + _PATIENCE
    while not _answers(address):
        if server.poll() is not None or time.monotonic() > until:
            raise PipelineError(f"the Prefect server did not start at {address}; start it with `prefect server start`")
        time.sleep(0.5)


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", timeout=2.0).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
