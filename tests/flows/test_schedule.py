"""Schedules: what is asked for is checked at once, and a real server, worker and deployment make the mask."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from flows import schedule as room
from flows.schedule import Schedule, WatchParameters, create_deployment
from pipeline.cli import app
from pipeline.decoding.readers import parse_duration
from pipeline.errors import RequestError
from tests.support.inputs import labels_of, pixels, put_scene

pytestmark = pytest.mark.server
PATIENCE = 240
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("15m", 900), ("6h", 21600), ("1d", 86400), ("5", 5), ("0.5m", 30)]
)
def test_times_are_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "15x", "-1s", "nan", "infs", "1m30s"])
def test_other_times_are_refused(text):
    with pytest.raises(ValueError, match=r"must be a time, e.g. 30s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give one of --every and --cron"),
        (("--every", "1m", "--cron", "0 3 * * *"), "give one of --every and --cron"),
        (("--cron", "at three"), "'at three': is not a cron schedule"),
        (("--every", "1m", "--concurrency", "0"), "must be positive"),
        (("--every", "1m", "--pool", "p"), "--pool needs a Prefect server"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_before_anything_starts(watched, words, said, monkeypatch, tmp_path):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    ended = CliRunner().invoke(app, ["schedule", "--config", str(watched), *words])
    assert ended.exit_code == 2, ended.output
    assert said in ended.stderr


def test_a_deployment_says_where_to_look_and_is_named_after_it(watched):
    made = create_deployment(WatchParameters(watched, settle=3.0), Schedule(timedelta(minutes=15)))
    assert made.full_name == "watch/job"
    assert made.parameters["config"] == str(watched)
    assert made.parameters["settle"] == 3.0
    assert made.entrypoint == "flows.watch.watch_flow"
    with pytest.raises(RequestError, match="the job file cannot be read"):
        create_deployment(WatchParameters(watched.with_name("none.toml")), Schedule(cron="0 3 * * *"))


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_a_server_of_our_own_lives_as_long_as_it_is_needed(monkeypatch, tmp_path):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(room, "PORT", free_port())
    with room.prefect_server() as address:
        assert httpx.get(f"{address}/health").json() is True
        with room.prefect_server() as again:
            assert again == address
        assert httpx.get(f"{address}/health").json() is True, "the second did not end what the first began"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/health")


@contextmanager
def process(*words, env, log):
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


def until(there, logs: Path):
    end = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < end, "\n".join(log.read_text()[-3000:] for log in logs.glob("*.log"))
        time.sleep(0.5)


def test_a_server_a_worker_and_a_schedule_make_the_mask(watched, tmp_path):
    port = free_port()
    address = f"http://127.0.0.1:{port}/api"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    env = {**kept, **room.DEFAULTS, "PREFECT_HOME": str(tmp_path / "home"), "PREFECT_API_URL": address}
    prefect = [sys.executable, "-m", "prefect"]
    schedule = [
        sys.executable,
        "-m",
        "pipeline.cli",
        "schedule",
        "--config",
        watched,
        "--every",
        "5s",
        "--settle",
        "0s",
    ]
    logs = tmp_path / "logs"
    logs.mkdir()
    server = ["server", "start", "--host", "127.0.0.1", "--port", port]
    with process(*prefect, *server, env=env, log=logs / "server.log"):
        until(lambda: room._answers(address), logs)
        subprocess.run([*prefect, "work-pool", "create", "pipeline", "--type", "process"], env=env, check=True)
        made = subprocess.run(
            [*map(str, schedule), "--pool", "pipeline"], env=env, capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, made.stderr
        assert made.stdout == "watch/job: run it with `prefect worker start --pool pipeline`\n"
        put_scene(tmp_path / "in/a.tif", pixels((2, 40, 30)))
        with process(*prefect, "worker", "start", "--pool", "pipeline", env=env, log=logs / "worker.log"):
            until((tmp_path / "out/a_mask.tif").exists, logs)
        assert labels_of(tmp_path / "out/a_mask.tif").shape == (40, 30)

        put_scene(tmp_path / "in/b.tif", pixels((2, 40, 30), 1))
        with process(*schedule, "--name", "served", env=env, log=logs / "served.log"):
            until((tmp_path / "out/b_mask.tif").exists, logs)

        subprocess.run([*prefect, "--no-prompt", "deploy", "--all"], cwd=ROOT, env=env, check=True)
        found = httpx.post(f"{address}/deployments/filter", json={}).json()
        assert {made["name"] for made in found} == {"job", "served", "scene", "volume", "landcover"}
