"""Schedules: what is asked for is checked at once, and a real server, worker and deployment make the mask."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

from flows import schedule as room
from flows.schedule import Schedule, WatchParameters, create_deployment
from pipeline.cli import app
from pipeline.decoding.readers import parse_duration
from pipeline.errors import RequestError
from tests.support.inputs import labels_of, pixels, put_scene
from tests.support.ports import free_port
from tests.support.servers import PREFECT, environment, process, until

pytestmark = pytest.mark.server
ROOT = Path(__file__).parents[2]
OFTEN = {"PREFECT_WORKER_QUERY_SECONDS": "2", "PREFECT_RUNNER_POLL_FREQUENCY": "2"}
"""Workers ask for work each few seconds."""
LONG = (24 * 1024, 90)
"""Rows and columns of a scene that takes long enough to be canceled, on fast machines too."""


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
        (("--every", "1m", "--ledger", "postgresql://u:secret@h/d"), "--ledger postgresql://u@h/d: has a password"),
        (("--every", "1m", "--ledger", "mysql://u:secret@h/d"), "mysql://u@h/d: cannot be a ledger"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_before_anything_starts(watched, words, said, monkeypatch, tmp_path):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    ended = CliRunner().invoke(app, ["schedule", "--config", str(watched), *words])
    assert ended.exit_code == 2, ended.output
    assert "secret" not in ended.output
    assert said in ended.stderr


def test_a_deployment_says_where_to_look_and_is_named_after_it(watched):
    made = create_deployment(WatchParameters(watched, settle=3.0), Schedule(timedelta(minutes=15)))
    assert made.full_name == "watch/job"
    assert made.parameters["config"] == str(watched)
    assert made.parameters["settle"] == 3.0
    assert made.entrypoint == "flows.watch.watch_flow"
    with pytest.raises(RequestError, match="the job file cannot be read"):
        create_deployment(WatchParameters(watched.with_name("none.toml")), Schedule(cron="0 3 * * *"))


def test_a_server_of_our_own_lives_as_long_as_it_is_needed(monkeypatch, home):
    monkeypatch.setenv("PREFECT_HOME", str(home))
    monkeypatch.setattr(room, "PORT", free_port())
    with room.prefect_server() as address:
        assert httpx.get(f"{address}/health").json() is True
        with room.prefect_server() as again:
            assert again == address
        assert httpx.get(f"{address}/health").json() is True, "the second did not end what the first began"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/health")


def cancel_and_resume(address, folder, logs):
    """A run that is canceled ends before its item does, and the next one takes up what is done."""
    mask, work = folder / "out/b_mask.tif", folder / "out/b_mask.tif.partial"
    until(lambda: any(work.glob("done/*")), logs)
    asked = {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}, "name": {"like_": "job"}}}
    with httpx.Client(base_url=address, timeout=60) as api:
        run = api.post("/flow_runs/filter", json={**asked, "sort": "START_TIME_DESC"}).json()[0]
        cancelling = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
        api.post(f"/flow_runs/{run['id']}/set_state", json=cancelling).raise_for_status()
        until(lambda: api.get(f"/flow_runs/{run['id']}").json()["state_type"] == "CANCELLED", logs)
    assert not mask.exists()
    marks = {mark.name: mark.stat().st_mtime_ns for mark in work.glob("done/*")}
    until(lambda: mask.exists() or len(list(work.glob("done/*"))) > len(marks), logs)
    left = {mark.name: mark.stat().st_mtime_ns for mark in work.glob("done/*")}
    assert not left or marks.items() <= left.items(), "what was done is not made again"
    until(mask.exists, logs)
    assert labels_of(mask).shape == LONG


def test_a_server_a_worker_and_a_schedule_make_the_mask(address, watched, tmp_path):
    env = environment(tmp_path / "home", address) | OFTEN
    schedule = ["schedule", "--config", str(watched), "--every", "10s", "--settle", "0s"]
    logs = tmp_path / "logs"
    logs.mkdir()
    with temporary_settings({PREFECT_API_URL: address}), get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="pipeline", type="process"))
        made = CliRunner().invoke(app, [*schedule, "--pool", "pipeline"])
    assert made.exit_code == 0, made.stderr
    assert made.stdout == "watch/job: run it with `prefect worker start --pool pipeline`\n"
    put_scene(tmp_path / "in/a.tif", pixels((2, 40, 30)))
    with process(*PREFECT, "worker", "start", "--pool", "pipeline", env=env, log=logs / "worker.log"):
        until((tmp_path / "out/a_mask.tif").exists, logs)
    assert labels_of(tmp_path / "out/a_mask.tif").shape == (40, 30)

    put_scene(tmp_path / "in/b.tif", pixels((2, *LONG), 2))
    served = [sys.executable, "-m", "pipeline.cli", *schedule, "--name", "served"]
    with process(*served, env=env, log=logs / "served.log"):
        cancel_and_resume(address, tmp_path, logs)

    subprocess.run([*PREFECT, "--no-prompt", "deploy", "--all"], cwd=ROOT, env=env, check=True)
    found = httpx.post(f"{address}/deployments/filter", json={}).json()
    assert {made["name"] for made in found} == {"job", "served", "scene", "volume", "landcover"}
