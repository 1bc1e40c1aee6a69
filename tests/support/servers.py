"""Processes of a Prefect server and its workers, ended with the block that they are for."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flows import DEFAULTS
from flows import schedule as room

PATIENCE = 240
PREFECT = (sys.executable, "-m", "prefect")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def environment(home: Path, address: str) -> dict[str, str]:
    """Of a process that knows this server, and no setting of Prefect from outside."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {**kept, **DEFAULTS, "PREFECT_HOME": str(home), "PREFECT_API_URL": address}


@contextmanager
def process(*words: object, env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended with the block, with its log for when a test fails."""
    with log.open("w") as file:
        running = subprocess.Popen([*map(str, words)], env=env, stdout=file, stderr=file, start_new_session=True)
        try:
            yield running
        finally:
            os.killpg(running.pid, signal.SIGTERM)
            try:
                running.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()


def until(there: Callable[[], bool], logs: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < end, "\n".join(log.read_text()[-3000:] for log in logs.glob("*.log"))
        time.sleep(0.5)


@contextmanager
def prefect_server(folder: Path) -> Iterator[str]:
    """The address of a server with a database of its own."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/api"
    start = (*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", port)
    with process(*start, env=environment(folder / "home", address), log=folder / "server.log"):
        until(lambda: room._answers(address), folder)
        yield address
