from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer.main
from hypothesis import settings

if TYPE_CHECKING:
    from tests.support.objects import Store

# Tests run beside each other, so each process computes and compiles on one thread; said before anything imports torch.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

# Else torch compiles a program for each set of instructions and loads it in a process, to see whether that can be done.
os.environ.setdefault("TORCHINDUCTOR_VEC_ISA_OK", "1")

# The same examples in every run: what is being tested decides whether a change lands, not what was drawn that day.
# `pytest --hypothesis-profile=search` looks for new ones.
settings.register_profile("default", deadline=None, max_examples=25, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=400)
settings.load_profile("default")


# The command line is built once, and not for each of the hundreds of times that a test calls it.
typer.main.get_command = cache(typer.main.get_command)


# Modules of tests and libraries stay for the whole run: a fifth of the time of collecting them went into looking for
# garbage among them, again and again.
gc.disable()


def pytest_collection(session: pytest.Session) -> None:
    """Have each process rewrite the asserts of its part of all tests, which is kept."""
    whole = session.config.getini("testpaths")
    if "PYTEST_XDIST_WORKER" in os.environ and session.config.args == whole:
        count, number = int(os.environ["PYTEST_XDIST_WORKER_COUNT"]), int(os.environ["PYTEST_XDIST_WORKER"][2:])
        files = sorted(file for path in whole for file in (session.config.rootpath / path).rglob("test_*.py"))
        for file in files[len(files) * number // count : len(files) * (number + 1) // count]:
            with suppress(Exception, pytest.skip.Exception):  # which its collection meets again
                import_module(".".join(file.relative_to(session.config.rootpath).with_suffix("").parts))


def pytest_collection_finish() -> None:
    """Leave what was collected out of all garbage collections to come."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small models `scene` and `volume`."""
    from tests.support.inputs import put_models

    folder = tmp_path_factory.mktemp("models")
    put_models(folder)
    return folder


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene of three bands, with a hole and a corner without data."""
    from tests.support.inputs import pixels, put_scene

    values = pixels((2, 2100, 100))
    values[:, 900:1300, 20:70] = 0
    values[:, :30, :30] = 0
    return put_scene(tmp_path_factory.mktemp("scene") / "scene.tif", values, nodata=0, tiled=True)


@pytest.fixture(scope="session")
def mask(scene: Path, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of the scene, in one go."""
    from pipeline.jobs.job import Job
    from pipeline.runs.segment import segment

    path = tmp_path_factory.mktemp("mask") / "mask.tif"
    segment(Job(str(scene), path, str(models / "scene")))
    return path


@pytest.fixture
def watched(models: Path, tmp_path: Path) -> Path:
    """A job file that looks into a folder, which is empty yet."""
    (tmp_path / "in").mkdir()
    file = tmp_path / "job.toml"
    file.write_text(f'input = "in"\noutput = "out/"\nmodel = "{models / "scene"}"\n')
    return file


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The host and port of an S3 server."""
    from tests.support.objects import s3_server

    with s3_server() as server:
        yield server


@pytest.fixture(scope="session")
def google(s3: str) -> Iterator[str]:
    """The host and port of a server of Google Cloud Storage, in front of the S3 server."""
    from tests.support.google import google_server

    with google_server(s3) as server:
        yield server


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The host and port of a server of Azure's blobs."""
    from tests.support.azure import azurite, has_azurite

    if not has_azurite():
        pytest.skip("Azurite is not installed: npm install --global azurite")
    with azurite(tmp_path_factory.mktemp("azurite") / "blobs") as running:
        yield running.server


@pytest.fixture
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A bucket on a server behind a proxy, and an environment that names both: of s3, or of gs or az if asked for."""
    from tests.support.objects import proxied
    from tests.support.stores import environment_of, server_of, store_on

    scheme = getattr(request, "param", "s3")
    server = request.getfixturevalue(server_of(scheme))
    with proxied(server) as proxy:
        for name, value in environment_of(scheme, proxy.address).items():
            monkeypatch.setenv(name, value)
        yield store_on(scheme, server, request.getfixturevalue("s3"), proxy)
