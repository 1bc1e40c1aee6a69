"""Processes of a Prefect server and its workers, ended with the block that they are for."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock

from flows import DEFAULTS
from flows import schedule as room
from tests.support.ports import free_port

PATIENCE = 240
PREFECT = (sys.executable, "-m", "prefect")
SHORT_SCHEDULES = {
    "PREFECT_UI_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "10",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS": "2",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": "3",
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT1S",
}
"""Of a server that plans the next runs, and not a hundred."""


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


@dataclass(frozen=True)
class SharedServer:
    """One server for all processes of a test run: who comes first starts it, who leaves last ends it."""

    folder: Path

    @property
    def database(self) -> Path:
        """A database with all tables and no records. Making it takes longer than to start a server with it."""
        return self.folder / "prefect.db"

    @contextmanager
    def used(self) -> Iterator[str]:
        """The address, as long as the block lasts."""
        user = self.folder / f"{os.getpid()}.user"
        with self._alone():
            address = self._address() or self._start()
            user.touch()
        try:
            yield address
        finally:
            with self._alone():
                user.unlink()
                if not any(psutil.pid_exists(int(other.stem)) for other in self.folder.glob("*.user")):
                    self._end()

    def _alone(self) -> FileLock:
        return FileLock(self.folder / "lock")

    @property
    def _known(self) -> Path:
        return self.folder / "server.json"

    def _address(self) -> str | None:
        return json.loads(self._known.read_text())["address"] if self._known.exists() else None

    def _start(self) -> str:
        """Start it through a shell, so that it is no child of the process that happens to come first."""
        port = free_port()
        address, home = f"http://127.0.0.1:{port}/api", self.folder / f"home{port}"
        home.mkdir()
        if self.database.exists():
            copy_database(self.database, home / "prefect.db")
        words = shlex.join([*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)])
        log = self.folder / "server.log"
        started = subprocess.run(
            ["bash", "-c", f"{words} > {shlex.quote(str(log))} 2>&1 & echo $!"],
            env=environment(home, address) | SHORT_SCHEDULES,
            stdout=subprocess.PIPE,
            check=True,
            start_new_session=True,
        )
        self._known.write_text(json.dumps({"address": address, "process": int(started.stdout)}))
        try:
            until(lambda: room._answers(address) or not psutil.pid_exists(int(started.stdout)), self.folder)
            assert room._answers(address), log.read_text()[-3000:]
            if not self.database.exists():
                copy_database(home / "prefect.db", self.database)
        except BaseException:
            self._end()
            raise
        return address

    def _end(self) -> None:
        """Kill it: nobody needs its records any more."""
        server = json.loads(self._known.read_text())["process"]
        self._known.unlink()
        with contextlib.suppress(ProcessLookupError):
            os.kill(server, signal.SIGKILL)


def copy_database(database: Path, copy: Path) -> None:
    """Copy what SQLite has of it, in its file and beside it."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
