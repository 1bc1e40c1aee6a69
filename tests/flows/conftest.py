from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import SharedServer, copy_database


@pytest.fixture(scope="package")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> SharedServer:
    """One Prefect server for all tests of flows, whichever process they are in: it takes seconds to start."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "prefect"
    folder.mkdir(exist_ok=True)
    return SharedServer(folder)


@pytest.fixture(scope="package")
def address(shared_server: SharedServer) -> Iterator[str]:
    """Its address."""
    with shared_server.used() as known:
        yield known


@pytest.fixture
def home(shared_server: SharedServer, address: str, tmp_path: Path) -> Path:
    """A home of Prefect's whose database has all tables already."""
    folder = tmp_path / "home"
    folder.mkdir()
    copy_database(shared_server.database, folder / "prefect.db")
    return folder
