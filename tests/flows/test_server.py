"""What flows do with a Prefect server: events, links, limits, forms, cancellation."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import yaml
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import AutomationCore
from prefect.flows import load_flow_from_entrypoint
from prefect.states import Cancelling
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

from flows import item as item_room
from flows import segment as flow_room
from flows import server as server_room
from flows.item import FAILED, Bounds
from flows.schedule import Schedule, WatchParameters, create_deployment
from flows.watch import watch_flow
from pipeline.archive.ledger import ArchiveLedger
from pipeline.archive.place import VARIABLE, place_of
from pipeline.errors import Interrupted, RequestError
from pipeline.jobs.job import Job, Resources
from pipeline.runs.segment import segment
from tests.support.inputs import pixels, put_scene
from tests.support.remote import served
from tests.support.stac import api, item

pytestmark = pytest.mark.server
ROOT = Path(__file__).parents[2]


def waited(look, patience=60.0):
    """What is found once there is something."""
    end = time.monotonic() + patience
    while not (found := look()) and time.monotonic() < end:
        time.sleep(0.1)
    return found


@contextmanager
def listener():
    """A server that keeps what is sent to it."""
    texts = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self):
            texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", texts
    finally:
        server.shutdown()
        server.server_close()


def automation_of_the_documentation(block):
    page = (ROOT / "docs/howto/prefect.md").read_text()
    (told,) = re.findall(r"```yaml\n(# failed-items.yaml\n.*?)```", page, re.DOTALL)
    said = yaml.safe_load(told)
    said["actions"][0]["block_document_id"] = str(block)
    return AutomationCore.model_validate(said)


def test_a_failed_item_is_an_event_to_which_an_automation_reacts(server, address, job, tmp_path, soon):
    with listener() as (here, texts):
        hook = CustomWebhookNotificationBlock(name="here", url=here, json_data={"text": "{{subject}} | {{body}}"})
        server.create_automation(automation_of_the_documentation(hook.save(f"here-{uuid4().hex[:8]}")))
        bad = Job(str(tmp_path / "none.tif"), model=job.model)
        flow_room.segment_flow([bad, job], return_state=True)
        assert waited(lambda: [text for text in texts if bad.input in text])
    (text,) = [text for text in texts if bad.input in text]
    assert text.startswith(f"unreadable: {bad.input} | {bad.input}: there is no such file")
    assert not any(job.input in text for text in texts), "it did not fail"
    wanted = {"filter": {"event": {"name": [FAILED]}}}
    found = httpx.post(f"{address}/events/filter", json=wanted).json()["events"]
    (event,) = [event for event in found if event["payload"]["input"] == bad.input]
    assert event["payload"]["code"] == "unreadable"
    assert any(related["prefect.resource.role"] == "flow-run" for related in event["related"])


def test_masks_and_reports_are_linked_and_the_run_says_how_it_ended(server, job, tmp_path):
    state = flow_room.segment_flow([job], report=True, return_state=True)
    assert state.message == "1 item: 1 done"
    assert [report.status for report in state.result()] == ["done"]
    links = [
        found for found in server.read_artifacts(limit=200) if "/a_mask" in str(found.data) and "](" in str(found.data)
    ]
    told = {found.description: found.data for found in links}
    assert (tmp_path / "a_mask.tif").as_uri() in told[f"Mask of {job.name}"]
    assert (tmp_path / "a_mask_report.html").as_uri() in told["Report"]
    assert (tmp_path / "a_mask_report.html").exists()


def test_a_limit_that_is_missing_is_created_and_one_that_exists_is_left(server, job):
    name = f"gpu-{uuid4().hex[:8]}"
    for slots in (2, 5):
        state = flow_room.segment_flow(
            [job], Resources(overwrite=True), bounds=Bounds(limit=name, slots=slots), return_state=True
        )
        assert state.is_completed(), state.message
        assert server.read_global_concurrency_limit_by_name(name).limit == 2
    with pytest.raises(RequestError, match="limit 'a/b': cannot be the name"):
        server_room.ensure_limit("a/b", 1)


def test_a_run_without_a_deployment_is_canceled_on_the_server_and_resumes(server, models, tmp_path, monkeypatch):
    """As `pipeline run --prefect` starts it: nobody else ends its process."""
    monkeypatch.setattr(server_room, "LOOK", 0.1)
    names = [str(put_scene(tmp_path / f"canceled{n}.tif", pixels((2, 40, 30), n))) for n in range(2)]
    jobs = [Job(name, model=str(models / "scene")) for name in names]
    ledger = place_of(tmp_path / "ledger.sqlite")

    def canceled(job, resources, observer, **shared):
        (run,) = [run for run in server.read_flow_runs() if names[0] in str(run.parameters)]
        server.set_flow_run_state(run.id, Cancelling(), force=True)
        assert waited(observer.should_stop, 20.0)
        return segment(job, resources, observer, **shared)

    monkeypatch.setattr(item_room, "segment", canceled)
    with pytest.raises(Interrupted):
        flow_room.run_flow(jobs, Resources(), ledger)
    assert not list(tmp_path.glob("*_mask.tif"))
    (run,) = [run for run in server.read_flow_runs() if names[0] in str(run.parameters)]
    assert run.state.name == "Cancelled"
    assert run.state.message == "stopped; run the same command again to resume"
    monkeypatch.setattr(item_room, "segment", segment)
    assert [report.status for report in flow_room.run_flow(jobs, Resources(), ledger)] == ["done", "done"]


def test_a_search_catches_up_and_makes_nothing_twice(server, models, tmp_path, monkeypatch):
    """What was published while the machine was off is found by the next run."""
    for name in ("new", "missed"):
        put_scene(tmp_path / f"{name}.tif", pixels((2, 40, 30)))
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "search.toml"
    with served(tmp_path) as files:
        now = datetime.now(UTC)
        items = [item("new", {"visual": {"href": f"{files.address}/new.tif"}}, when=now - timedelta(hours=1))]
        with api(items, by_time=True) as (address, _):
            config.write_text(f'output = "out/"\nmodel = "{models / "scene"}"\n[search]\nurl = "{address}"\ndays = 1\n')
            assert [report.status for report in watch_flow(config, report=True)] == ["done"]
            assert (tmp_path / "out/archive_report.html").exists()
            items.append(
                item("missed", {"visual": {"href": f"{files.address}/missed.tif"}}, when=now - timedelta(days=3))
            )
            assert [report.status for report in watch_flow(config)] == ["skipped"], "longer ago than was asked for"
            turn_back(tmp_path / "out/archive.sqlite", timedelta(days=4))
            assert [report.status for report in watch_flow(config)] == ["done", "skipped"]


def turn_back(path, by):
    """As if the last run had been before the machine was off."""
    with closing(ArchiveLedger(path)) as ledger:
        ((name, value),) = ledger._base.query("SELECT name, value FROM kept WHERE name LIKE 'searched %'")
        ledger.keep(name, (datetime.fromisoformat(value) - by).isoformat())


def deployments():
    said = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    return [pytest.param(one["entrypoint"], one, id=one["name"]) for one in said]


@pytest.mark.parametrize(("entrypoint", "said"), deployments())
def test_the_forms_of_deployments_say_what_they_take(entrypoint, said):
    """Each parameter and each field in it has a type, what it means, and a default if it may be left out."""
    schema = parameter_schema(load_flow_from_entrypoint(str(ROOT / entrypoint))).model_dump_for_openapi()
    assert said["tags"] == ["pipeline"]
    assert said["description"]
    check_form(schema, said["parameters"])
    for text in ("2GiB", "500MiB"):
        validate({**said["parameters"], "means": {"memory": text}}, schema, raise_on_error=True)
    for wrong in ({"means": {"precision": "float8"}}, {"bounds": {"at_once": "many"}}, {"settle": "soon"}):
        if set(wrong) <= set(schema["properties"]):
            with pytest.raises(Exception, match="Validation failed"):
                validate({**said["parameters"], **wrong}, schema, raise_on_error=True)


def test_the_form_of_a_schedule_says_what_it_takes(watched):
    made = create_deployment(WatchParameters(watched), Schedule(timedelta(minutes=15)))
    check_form(made._parameter_openapi_schema.model_dump_for_openapi(), made.parameters)


def check_form(schema, parameters):
    validate(parameters, schema, raise_on_error=True)
    required = set(schema.get("required", ()))
    fields = [*schema["properties"].items()]
    fields += [field for one in schema.get("definitions", {}).values() for field in one["properties"].items()]
    for name, about in fields:
        assert about.get("description"), name
        assert {"type", "anyOf", "$ref", "allOf"} & set(about), name
        assert "default" in about or name in required, name
        assert "password" not in name


def test_a_ledger_with_a_password_is_not_handed_to_prefect(monkeypatch):
    place = place_of("postgresql://user:secret@host/base")
    with pytest.raises(RequestError, match="PIPELINE_LEDGER") as refused:
        flow_room.run_flow([Job("a.tif")], Resources(), place)
    assert "secret" not in str(refused.value)
    monkeypatch.setenv(VARIABLE, "postgresql://user:secret@host/base")
    flow_room._check_secrets([], place)
    assert place_of("postgresql://user@host/base") == place, "the flow finds the password in its environment"


def test_a_worker_fills_in_what_blocks_hold(server):
    Secret(value="postgresql://user:secret@host/base").save(name := f"ledger-{uuid4().hex[:8]}")

    async def environment():
        async with get_client() as client:
            values = {"env": {VARIABLE: f"{{{{ prefect.blocks.secret.{name} }}}}"}}
            template = ProcessWorker.get_default_base_job_template()
            return (await ProcessJobConfiguration.from_template_and_values(template, values, client=client)).env

    assert asyncio.run(environment())[VARIABLE] == "postgresql://user:secret@host/base"
