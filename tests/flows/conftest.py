from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import item as item_room
from pipeline.jobs.job import Job
from tests.support.inputs import pixels, put_scene
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
    """Its address; what this process has to say to it is said before it ends, or the process would wait a minute."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    with shared_server.used() as known:
        yield known
        for kind in (APILogWorker, EventsWorker):
            kind.drain_all(timeout=20)


@pytest.fixture(scope="module")
def server(address):
    """A client of a Prefect server; no heartbeat, which costs a second a flow."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    known = {PREFECT_API_URL: address, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(known), get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def job(models, tmp_path):
    return Job(str(put_scene(tmp_path / "a.tif", pixels((2, 40, 30)))), model=str(models / "scene"))


@pytest.fixture
def soon(monkeypatch):
    """Retries without a wait."""
    monkeypatch.setattr(item_room, "segment_item", item_room.segment_item.with_options(retry_delay_seconds=0))


@pytest.fixture
def home(shared_server: SharedServer, address: str, tmp_path: Path) -> Path:
    """A home of Prefect's whose database has all tables already."""
    folder = tmp_path / "home"
    folder.mkdir()
    copy_database(shared_server.database, folder / "prefect.db")
    return folder
