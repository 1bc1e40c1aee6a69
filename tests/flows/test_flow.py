"""The flow, on a Prefect server of its own in a temporary folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from flows import DEFAULTS
from flows import item as item_room
from flows import segment as flow_room
from flows.item import Bounds
from flows.learn import learn_flow
from flows.segment import archive_flow
from flows.watch import watch_flow
from pipeline.errors import InputError, ModelError, PipelineError, RequestError, UnreachableError
from pipeline.jobs.job import Job, Resources
from pipeline.models.store import load_card
from pipeline.runs import cluster
from pipeline.runs.segment import segment
from tests.support.inputs import labels_of, listing, pixels, put_scene
from tests.support.trainings import TOML, put_scenes

pytestmark = pytest.mark.server


def table(server, job) -> list[dict]:
    """The last table with this item: other processes use the server too."""
    found = [artifact for artifact in server.read_artifacts() if artifact.key == "masks"]
    tables = [json.loads(artifact.data) for artifact in sorted(found, key=lambda artifact: artifact.created)]
    return [rows for rows in tables if any(row["input"] == job.input for row in rows)][-1]


def states_of(server, name, patience=20.0):
    """States of the tasks of an item, once they are recorded as ended."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        runs = [run for run in server.read_task_runs() if run.name.endswith(f"/{name}") and run.state]
        if runs and all(run.state.is_final() for run in runs):
            break
        time.sleep(0.2)
    return [run.state.name for run in runs]


def failing(monkeypatch, errors):
    """Let the next calls fail with `errors`, and count all calls."""
    calls = []

    def counted(*words, **more):
        calls.append(words)
        if len(calls) <= len(errors):
            raise errors[len(calls) - 1]
        return segment(*words, **more)

    monkeypatch.setattr(item_room, "segment", counted)
    return calls


def test_a_flow_makes_the_mask_and_a_table(server, job, tmp_path):
    (report,) = flow_room.run_flow([job], Resources())
    assert report.status == "done"
    (run,) = [run for run in server.read_flow_runs() if job.input in str(run.parameters)]
    assert run.name.startswith("a.tif ")
    assert set(run.tags) == {"pipeline", "model:scene"}
    assert labels_of(tmp_path / "a_mask.tif").shape == (40, 30)
    (row,) = table(server, job)
    assert (row["input"], row["status"], row["output"]) == (job.input, "done", str(tmp_path / "a_mask.tif"))
    assert flow_room.run_flow([job], Resources())[0].status == "skipped"


def test_one_bad_item_fails_the_flow_and_not_the_others(server, job, tmp_path, soon):
    bad = Job(str(tmp_path / "none.tif"), model=job.model)
    state = flow_room.segment_flow([bad, job], return_state=True)
    assert state.is_failed()
    assert "1 of 2 items failed" in state.message
    assert (tmp_path / "a_mask.tif").exists()
    assert [row["status"] for row in table(server, job)] == ["failed", "done"]
    reports = flow_room.run_flow([bad, job], Resources())
    assert [report.status for report in reports] == ["failed", "skipped"]
    assert reports[0].reason.startswith(f"{tmp_path / 'none.tif'}: there is no such file")


@pytest.mark.parametrize(
    ("errors", "calls", "status"),
    [
        ([OSError("busy"), OSError("busy")], 3, "done"),
        ([OSError("busy")] * 3, 3, "failed"),
        ([InputError("wrong")], 1, "failed"),
        ([UnreachableError("a hub")], 2, "done"),
    ],
    ids=["passes", "does not pass", "wrong request", "hub away"],
)
def test_what_may_pass_is_tried_again(server, job, monkeypatch, soon, errors, calls, status):
    made = failing(monkeypatch, errors)
    (report,) = flow_room.run_flow([job], Resources())
    assert (len(made), report.status) == (calls, status)


@pytest.mark.parametrize(
    "flow", [flow_room.segment_flow, archive_flow, watch_flow, learn_flow], ids=lambda flow: flow.name
)
def test_parameters_say_what_they_are(flow):
    schema = flow.parameters
    assert all(about.get("description") for about in schema.properties.values())
    fields = schema.definitions["Resources"]["properties"]
    assert all(about["description"] for about in fields.values())
    assert fields["precision"]["anyOf"][0]["enum"] == ["float32", "bfloat16", "int8"]
    assert fields["runtime"]["anyOf"][0]["enum"] == ["torch", "compiled", "openvino", "onnx"]
    if flow is not learn_flow:
        assert all(about["description"] for about in schema.definitions["Bounds"]["properties"].values())


def test_servers_wait_between_two_looks_for_what_to_record():
    """Prefect cuts the interval to whole seconds; without one, an idle server keeps a core busy."""
    assert int(float(DEFAULTS["PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL"])) >= 1


def test_a_server_that_does_not_answer_is_an_error_with_a_way_out(monkeypatch, job):
    def fails(*_, **__):
        raise RuntimeError("Failed to reach API")

    monkeypatch.setattr(flow_room, "segment_flow", fails)
    with pytest.raises(
        PipelineError, match=r"cannot reach Prefect \(Failed to reach API\); check its server, or run with --no-prefect"
    ):
        flow_room.run_flow([job], Resources())


def test_an_address_that_gives_access_is_not_handed_to_prefect():
    with pytest.raises(
        RequestError, match=r"^https://host/a.tif: the address contains credentials, which Prefect would store"
    ):
        flow_room.run_flow([Job("https://user:word@host/a.tif")], Resources())


def test_a_flow_needs_no_server_and_no_network(job, home, tmp_path):
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    variables |= {"PREFECT_HOME": str(home), "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1", **nowhere}
    command = [Path(sys.executable).with_name("pipeline"), "run", "--input", job.input, "--model", job.model]
    ended = subprocess.run(
        [*command, "--prefect", "--json"], env=variables, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert [item["status"] for item in json.loads(ended.stdout)["items"]] == ["done"]
    assert (tmp_path / "a_mask.tif").exists()
    assert "ERROR" not in ended.stderr


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


def test_items_are_bounded_in_number_and_time(server, models, tmp_path, monkeypatch, soon):
    """Two at a time and never three; a limit that is not there, and time that is over, are failures with a word."""
    jobs = [
        Job(str(put_scene(tmp_path / f"{n}.tif", pixels((2, 40, 30), n))), model=str(models / "scene"))
        for n in range(5)
    ]
    running, most = [], []

    def watched(job, *more, **shared):
        running.append(job)
        most.append(len(running))
        time.sleep(0.3)
        try:
            return segment(job, *more, **shared)
        finally:
            running.remove(job)

    monkeypatch.setattr(item_room, "segment", watched)
    reports = flow_room.segment_flow(jobs, ledger=tmp_path / "ledger.sqlite", bounds=Bounds(at_once=2))
    assert [(report.input, report.status) for report in reports] == [(job.input, "done") for job in jobs]
    assert max(most) == 2
    shown = [json.loads(artifact.data)[0] for artifact in server.read_artifacts(limit=200) if artifact.type == "table"]
    assert {job.input for job in jobs} <= {row["input"] for row in shown}

    monkeypatch.setattr(item_room, "segment", segment)
    for bounds, word in [
        (Bounds(seconds=1e-9), "0.tif: took longer than 1e-09 s; finished slabs are kept"),
    ]:
        state = flow_room.segment_flow(jobs[:1], Resources(overwrite=True), bounds=bounds, return_state=True)
        assert state.is_failed()
        assert word in state.message
    with pytest.raises(RequestError, match="must be positive"):
        Bounds(at_once=0)
    with pytest.raises(RequestError, match="slots 0"):
        Bounds(slots=0)


def test_items_share_workers(server, models, tmp_path, monkeypatch):
    """One cluster for all items, though each is a task of its own."""
    jobs = [
        Job(str(put_scene(tmp_path / f"{n}.tif", pixels((2, 40, 30), n))), model=str(models / "scene"))
        for n in range(3)
    ]
    started: list[int] = []
    start = cluster._client

    def counted(count, scheduler):
        started.append(count)
        return start(count, scheduler)

    monkeypatch.setattr(cluster, "_client", counted)
    reports = flow_room.segment_flow(jobs, Resources(workers=2), bounds=Bounds(at_once=2))
    assert [(report.input, report.status) for report in reports] == [(job.input, "done") for job in jobs]
    assert started == [2]


@pytest.fixture
def interruptible():
    """Interrupts are heard, also if a shell has begun the tests in its background, where they are ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_stops_the_items_under_way(server, models, tmp_path, monkeypatch):
    """Between two patches, and not at their end; the ledger leaves them to the next run."""
    jobs = [
        Job(str(put_scene(tmp_path / f"stopped{n}.tif", pixels((2, 40, 30), n))), model=str(models / "scene"))
        for n in range(3)
    ]

    def interrupted(job, resources, observer, **shared):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        for _ in range(200):
            if observer.should_stop():
                break
            time.sleep(0.05)
        return segment(job, resources, observer, **shared)

    monkeypatch.setattr(item_room, "segment", interrupted)
    with pytest.raises(KeyboardInterrupt):
        flow_room.segment_flow(jobs, ledger=tmp_path / "ledger.sqlite")
    monkeypatch.setattr(item_room, "segment", segment)
    assert not list(tmp_path.glob("*_mask.tif"))
    assert states_of(server, "stopped0.tif") == ["Cancelled"], "stopped, and not failed"
    reports = flow_room.segment_flow(jobs, ledger=tmp_path / "ledger.sqlite")
    assert [report.status for report in reports] == ["done", "done", "done"]


def test_a_flow_segments_all_that_a_job_file_stands_for(server, watched, tmp_path):
    put_scene(tmp_path / "in/a.tif", pixels((2, 40, 30)))
    assert [report.status for report in archive_flow(watched)] == ["done"]
    assert [report.status for report in archive_flow(watched)] == ["skipped"]
    assert (tmp_path / "out/archive.sqlite").exists()


def test_a_model_is_trained_measured_and_published_if_it_is_good_enough(server, tmp_path):
    data = put_scenes(tmp_path)
    (data / "small.toml").write_text(TOML.replace("steps = 12", "steps = 2"))
    (data / "test.csv").write_text("image,truth\nscene1.tif,scene1_label.tif\n")
    words = data / "small.toml", tmp_path / "run", data / "test.csv", tmp_path / "models"
    with pytest.raises(ModelError, match=r"mean_iou is 0\.\d+, below 0.999"):
        learn_flow(*words, {"mean_iou": 0.999})
    with pytest.raises(RequestError, match="unknown figure miou; choose from"):
        learn_flow(*words, {"miou": 0.1})
    assert not (tmp_path / "models").exists()
    published = learn_flow(*words, {"mean_iou": 0.0})
    card = load_card(published)
    assert published == tmp_path / "models" / f"small-{card.weights_sha256[:12]}"
    assert "test" in card.evaluation
    assert listing(published) == {"card.json", "model.safetensors"}
    assert learn_flow(*words) == published


def test_a_watch_of_a_bucket_segments_what_is_new_or_replaced(server, store, models, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    said = {"input": f"{store.place}in/", "output": f"{store.place}out/", "model": models / "scene"}
    job = tmp_path / "job.toml"
    job.write_text("".join(f'{name} = "{value}"\n' for name, value in said.items()))

    def tick():
        state = watch_flow(job, return_state=True)
        masks = {key: content for key, content in store.shown("out").items() if key.endswith(".tif")}
        return state.is_failed(), masks

    assert tick() == (False, {})
    scenes = [put_scene(tmp_path / "a.tif", pixels((2, 40, 30), seed)).read_bytes() for seed in (0, 1)]
    store.put("in/a b.tif", scenes[0])
    failed, first = tick()
    assert (failed, list(first)) == (False, ["a b_mask.tif"])
    store.put("in/a b.tif", scenes[1])
    failed, second = tick()
    assert not failed
    assert second != first
    assert tick() == (False, second)
