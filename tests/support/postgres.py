"""A PostgreSQL server of the tests' own, which ends with them."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.ports import free_port

USER, PASSWORD = "archivist", "p@ss/w:rd%20"
_ENCODED = "p%40ss%2Fw%3Ard%2520"
_FAST = ("fsync=off", "full_page_writes=off", "max_connections=200", "shared_buffers=32MB")
"""Commits are not put off: what was committed has to outlive a server that is stopped at once."""


def binaries() -> Path | None:
    """The folder of the programs of a server."""
    known = [Path(path).resolve().parent for name in ("pg_ctl", "initdb") if (path := shutil.which(name))]
    found = [*known, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    return next((folder for folder in found if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)


@dataclass(frozen=True)
class Server:
    """A server that runs, whose databases are thrown away."""

    programs: Path
    folder: Path
    port: int

    def database(self) -> str:
        """The address of a new database, with its password."""
        import psycopg

        name = f"archive_{uuid4().hex[:8]}"
        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.address(name)

    def address(self, name: str) -> str:
        return f"postgresql://{USER}:{_ENCODED}@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        settings = " ".join(f"-c {setting}" for setting in _FAST)
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} {settings}"
        self._control("start", "-w", "-l", str(self.folder / "log"), "-o", options)

    def stop(self) -> None:
        self._control("stop", "-m", "immediate")

    def _control(self, *words: str) -> None:
        command = [str(self.programs / "pg_ctl"), "-D", str(self.folder / "data"), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **_as_other())


@contextmanager
def server() -> Iterator[Server]:
    """A server; the test is skipped where there is none."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install '.[dev]'")
    programs = binaries()
    if programs is None:
        pytest.skip("needs a PostgreSQL server: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="postgres"))
    for name, number in _as_other().items():
        os.chown(folder, number if name == "user" else -1, number if name == "group" else -1)
    word = folder / "password"
    word.write_text(PASSWORD)
    word.chmod(0o644)
    made = [programs / "initdb", "-D", folder / "data", "-U", USER, "-A", "scram-sha-256", f"--pwfile={word}"]
    quick = ["--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
    running = Server(programs, folder, free_port())
    try:
        subprocess.run([*map(str, made), *quick], check=True, stdout=subprocess.DEVNULL, **_as_other())
        running.start()
        try:
            yield running
        finally:
            running.stop()
    finally:
        shutil.rmtree(folder)


def _as_other() -> dict[str, Any]:
    """The user that a server runs as: it refuses root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    other = names.get("postgres") or names["nobody"]
    return {"user": other.pw_uid, "group": other.pw_gid}
