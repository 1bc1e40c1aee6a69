"""The flow, on a Prefect server of its own in a temporary folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows import segment as flow_room
from flows.watch import watch_flow
from pipeline.errors import InputError, PipelineError
from pipeline.job import Job, Means
from pipeline.segmentation import segment
from tests.inputs import labels_of, pixels, put_scene

pytestmark = pytest.mark.prefect


@pytest.fixture(scope="module")
def server():
    """A Prefect server and its client; no heartbeat, which costs a second a flow."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
        get_client(sync_client=True) as client,
    ):
        yield client


@pytest.fixture
def job(models, tmp_path):
    return Job(str(put_scene(tmp_path / "a.tif", pixels((2, 40, 30)))), model=str(models / "scene"))


@pytest.fixture
def soon(monkeypatch):
    """Retries without a wait."""
    monkeypatch.setattr(flow_room, "segment_item", flow_room.segment_item.with_options(retry_delay_seconds=0))


def tables(server) -> list[list[dict]]:
    found = [artifact for artifact in server.read_artifacts() if artifact.key == "masks"]
    return [json.loads(artifact.data) for artifact in sorted(found, key=lambda artifact: artifact.created)]


def failing(monkeypatch, errors):
    """Let the next calls fail with `errors`, and count all calls."""
    calls = []

    def counted(*words):
        calls.append(words)
        if len(calls) <= len(errors):
            raise errors[len(calls) - 1]
        return segment(*words)

    monkeypatch.setattr(flow_room, "segment", counted)
    return calls


def test_a_flow_makes_the_mask_and_a_table(server, job, tmp_path):
    (report,) = flow_room.run_flow([job], Means())
    assert report.status == "done"
    assert labels_of(tmp_path / "a_mask.tif").shape == (40, 30)
    (row,) = tables(server)[-1]
    assert (row["input"], row["status"], row["output"]) == (job.input, "done", str(tmp_path / "a_mask.tif"))
    assert flow_room.run_flow([job], Means())[0].status == "skipped"


def test_one_bad_item_fails_the_flow_and_not_the_others(server, job, tmp_path, soon):
    bad = Job(str(tmp_path / "none.tif"), model=job.model)
    state = flow_room.segment_flow([bad, job], return_state=True)
    assert state.is_failed()
    assert "1 of 2 items failed" in state.message
    assert (tmp_path / "a_mask.tif").exists()
    assert [row["status"] for row in tables(server)[-1]] == ["failed", "done"]
    reports = flow_room.run_flow([bad, job], Means())
    assert [report.status for report in reports] == ["failed", "skipped"]
    assert reports[0].reason.startswith(f"{tmp_path / 'none.tif'}: there is no such file")


@pytest.mark.parametrize(
    ("errors", "calls", "status"),
    [
        ([OSError("busy"), OSError("busy")], 3, "done"),
        ([OSError("busy")] * 3, 3, "failed"),
        ([InputError("wrong")], 1, "failed"),
    ],
    ids=["passes", "does not pass", "wrong request"],
)
def test_what_may_pass_is_tried_again(server, job, monkeypatch, soon, errors, calls, status):
    made = failing(monkeypatch, errors)
    (report,) = flow_room.run_flow([job], Means())
    assert (len(made), report.status) == (calls, status)


def test_a_server_that_does_not_answer_is_an_error_with_a_way_out(monkeypatch, job):
    def fails(*_):
        raise RuntimeError("Failed to reach API")

    monkeypatch.setattr(flow_room, "segment_flow", fails)
    with pytest.raises(PipelineError, match=r"Prefect does not answer \(Failed to reach API\); run with --no-prefect"):
        flow_room.run_flow([job], Means())


def test_a_flow_needs_no_server_and_no_network(job, tmp_path):
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    variables |= {"PREFECT_HOME": str(tmp_path / "home"), "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1", **nowhere}
    command = [Path(sys.executable).with_name("pipeline"), "run", "--input", job.input, "--model", job.model]
    ended = subprocess.run(
        [*command, "--prefect", "--json"], env=variables, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert [item["status"] for item in json.loads(ended.stdout)["items"]] == ["done"]
    assert (tmp_path / "a_mask.tif").exists()
    assert "ERROR" not in ended.stderr


@pytest.fixture
def watched(models, tmp_path):
    """A job file that looks into a folder, which is empty yet."""
    (tmp_path / "in").mkdir()
    file = tmp_path / "job.toml"
    file.write_text(f'input = "in"\noutput = "out/"\nmodel = "{models / "scene"}"\n')
    return file


def test_a_watch_segments_what_is_new_and_fails_once_for_what_is_broken(server, watched, tmp_path):
    def tick(**more):
        state = watch_flow(watched, **{"settle": 0.0, **more}, return_state=True)
        return state.is_failed(), {path.name for path in (tmp_path / "out").glob("*_mask.tif")}

    assert tick() == (False, set())
    put_scene(tmp_path / "in/a.tif", pixels((2, 40, 30)))
    assert tick(settle=3600.0) == (False, set()), "it may still be written"
    assert tick() == (False, {"a_mask.tif"})
    made = (tmp_path / "out/a_mask.tif").stat().st_mtime_ns
    (tmp_path / "in/b.tif").write_bytes(b"II no scene")
    put_scene(tmp_path / "in/c.tif", pixels((2, 40, 30), 1))
    assert tick() == (True, {"a_mask.tif", "c_mask.tif"})
    assert tick() == (False, {"a_mask.tif", "c_mask.tif"})
    assert (tmp_path / "out/a_mask.tif").stat().st_mtime_ns == made
